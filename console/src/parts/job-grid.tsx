import type { JobView } from "@comfyline/client";
import { useWindowVirtualizer } from "@tanstack/react-virtual";
import { useLayoutEffect, useRef, useState } from "react";
import { pressed } from "../choose/keys.js";
import type { Selection } from "../choose/selection.js";
import { chooseTexts } from "../texts/choose.js";
import { useArea, useTexts } from "../texts/index.js";
import { JobCard, titleOf } from "./job-card.js";

/** How the browser has laid the cards out. */
interface Shape {
  columns: number;
  /** The height of a row with its gap; all rows have the same. */
  row: number;
  /** Where the list begins on the page. */
  top: number;
}

const UNKNOWN: Shape = { columns: 4, row: 380, top: 0 };

interface Props {
  jobs: JobView[];
  selection: Selection;
}

/** The cards of the jobs. Only those near the window are on the page, because there may be thousands. */
export function JobGrid({ jobs, selection }: Props) {
  const own = useArea(chooseTexts);
  const texts = useTexts();
  const list = useRef<HTMLUListElement>(null);
  const [shape, setShape] = useState(UNKNOWN);
  const rows = useWindowVirtualizer({
    count: Math.ceil(jobs.length / shape.columns),
    estimateSize: () => shape.row,
    overscan: 3,
    scrollMargin: shape.top,
  });
  useLayoutEffect(() => {
    const look = () => setShape((before) => shapeOf(list.current!, before));
    const observer = new ResizeObserver(look);
    observer.observe(list.current!);
    return () => observer.disconnect();
  }, []);
  // What is above the list may have changed with it.
  useLayoutEffect(() => setShape((before) => shapeOf(list.current!, before)));
  useLayoutEffect(() => rows.measure(), [rows, shape.row]);
  const near = rows.getVirtualItems();
  const [first, last] = [near[0], near.at(-1)];
  const from = (first?.index ?? 0) * shape.columns;
  const to = ((last?.index ?? -1) + 1) * shape.columns;
  const before = first ? first.start - shape.top : 0;
  const after = last ? rows.getTotalSize() - (last.end - shape.top) : 0;
  return (
    <ul
      className="gallery"
      ref={list}
      style={{ paddingTop: before, paddingBottom: after }}
      onKeyDown={(event) => pressed(event, { jobs, selection, columns: shape.columns })}
    >
      {jobs.slice(from, to).map((job, n) => (
        <li
          key={job.job_id}
          className={selection.has(job.job_id) ? "is-chosen" : ""}
          aria-setsize={jobs.length}
          aria-posinset={from + n + 1}
        >
          <JobCard view={job} />
          <input
            type="checkbox"
            className="card-choice"
            aria-label={own.choose(titleOf(job) ?? texts.workflow)}
            checked={selection.has(job.job_id)}
            onChange={({ nativeEvent }) =>
              (nativeEvent as MouseEvent).shiftKey
                ? selection.extend(job.job_id)
                : selection.toggle(job.job_id)
            }
          />
        </li>
      ))}
    </ul>
  );
}

/** The shape as it is now; the one before if it is the same, so that nothing is drawn anew. */
function shapeOf(list: HTMLUListElement, before: Shape): Shape {
  const card = list.querySelector("li");
  if (!card) return before;
  const style = getComputedStyle(list);
  const columns = style.gridTemplateColumns.split(" ").length;
  const row = card.getBoundingClientRect().height + parseFloat(style.rowGap);
  const top = Math.round(list.getBoundingClientRect().top + scrollY);
  const isSame = columns === before.columns && row === before.row && top === before.top;
  return isSame ? before : { columns, row, top };
}

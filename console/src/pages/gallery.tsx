import type { Status } from "@comfyline/client";
import { useInfiniteQuery } from "@tanstack/react-query";
import { Suspense, lazy, useEffect, useMemo, useRef, useState } from "react";
import { useSelection } from "../choose/selection.js";
import { useIsLive } from "../live.js";
import { JobGrid } from "../parts/job-grid.js";
import { Trouble } from "../parts/trouble.js";
import { jobsQuery } from "../queries.js";
import type { Filter } from "../queries.js";
import { go } from "../router.js";
import type { Place } from "../router.js";
import { useSession } from "../session.js";
import { chooseTexts } from "../texts/choose.js";
import { useArea, useTexts } from "../texts/index.js";

const ChosenBar = lazy(() => import("../choose/bar.js"));

const STATUSES: Status[] = ["queued", "running", "succeeded", "failed", "canceled", "expired"];

/** The owner's jobs, newest first, without an end. */
export function Gallery({ query }: Place) {
  const texts = useTexts();
  const choose = useArea(chooseTexts);
  const { client, live } = useSession();
  const filter = filterOf(query);
  const isLive = useIsLive(live) !== false;
  const list = useInfiniteQuery(jobsQuery(client, filter, isLive));
  const jobs = useMemo(() => list.data?.pages.flatMap((page) => page.jobs) ?? [], [list.data]);
  const selection = useSelection(jobs, query.toString());
  const [hasChosen, setHasChosen] = useState(false);
  if (selection.jobs.length && !hasChosen) setHasChosen(true);
  const isFiltered = Boolean(filter.status) || Object.keys(filter.metadata).length > 0;
  return (
    <>
      <div className="title">
        <h1>{texts.jobs}</h1>
        <a className="button primary" href="#/new">
          {texts.newJob}
        </a>
      </div>
      <FilterForm key={query.toString()} query={query} />
      {list.error && <Trouble error={list.error} again={() => void list.refetch()} />}
      {list.isPending && <p className="muted">{texts.loading}</p>}
      {hasChosen && (
        <Suspense fallback={null}>
          <ChosenBar selection={selection} listed={jobs.length} />
        </Suspense>
      )}
      <span className="sr" role="status">
        {hasChosen && choose.chosen(selection.jobs.length)}
      </span>
      <JobGrid jobs={jobs} selection={selection} />
      {list.isSuccess && jobs.length === 0 && !list.hasNextPage && (
        <div className="empty">
          <h2>{isFiltered ? texts.noneFound : texts.noJobs}</h2>
          {!isFiltered && <p className="muted">{texts.noJobsHint}</p>}
        </div>
      )}
      {list.hasNextPage && (
        <More
          isLoading={list.isFetchingNextPage}
          pages={list.data!.pages.length}
          // A filtered page may be empty; the user decides whether the search goes on.
          isAutomatic={list.data!.pages.at(-1)!.jobs.length > 0}
          load={() => void list.fetchNextPage()}
        />
      )}
      {list.isSuccess && !list.hasNextPage && jobs.length > 0 && (
        <p className="muted end">{texts.end}</p>
      )}
    </>
  );
}

/** Loads the next page when it comes into view; a button does the same for keyboards. */
function More(props: {
  isLoading: boolean;
  pages: number;
  isAutomatic: boolean;
  load: () => void;
}) {
  const { isLoading, pages, isAutomatic, load } = props;
  const texts = useTexts();
  const place = useRef<HTMLDivElement>(null);
  const latest = useRef(load);
  latest.current = load;
  useEffect(() => {
    if (isLoading || !isAutomatic) return undefined;
    // Several changes may come at once; the last is how it is.
    const told = (entries: IntersectionObserverEntry[]) =>
      entries.at(-1)?.isIntersecting && latest.current();
    const observer = new IntersectionObserver(told, { rootMargin: "600px" });
    observer.observe(place.current!);
    return () => observer.disconnect();
    // An observer tells only changes. The end may be in view again before it was out of view.
  }, [isLoading, pages, isAutomatic]);
  return (
    <div ref={place} className="end">
      {!isAutomatic && <p className="muted">{texts.searchOn}</p>}
      <button type="button" onClick={load} disabled={isLoading}>
        {isLoading ? texts.loading : texts.more}
      </button>
    </div>
  );
}

function FilterForm({ query }: { query: URLSearchParams }) {
  const texts = useTexts();
  const [status, setStatus] = useState(query.get("status") ?? "");
  const [metadata, setMetadata] = useState(query.get("metadata") ?? "");
  const [isWrong, setWrong] = useState(false);

  function apply(nextStatus: string) {
    if (pairsOf(metadata) === undefined) return setWrong(true);
    const next = new URLSearchParams();
    if (nextStatus) next.set("status", nextStatus);
    if (metadata.trim()) next.set("metadata", metadata.trim());
    return go(`#/${next.size ? `?${next}` : ""}`);
  }

  return (
    <form
      className="filter"
      onSubmit={(event) => {
        event.preventDefault();
        apply(status);
      }}
    >
      <label>
        {texts.filterStatus}
        <select
          value={status}
          onChange={({ target }) => {
            setStatus(target.value);
            apply(target.value);
          }}
        >
          <option value="">{texts.all}</option>
          {STATUSES.map((each) => (
            <option key={each} value={each}>
              {texts.status[each]}
            </option>
          ))}
        </select>
      </label>
      <label className="grow">
        {texts.filterMetadata}
        <input
          value={metadata}
          placeholder={texts.metadataHint}
          aria-invalid={isWrong || undefined}
          aria-describedby="metadata-trouble"
          onChange={({ target }) => {
            setMetadata(target.value);
            setWrong(false);
          }}
        />
      </label>
      <button type="submit">{texts.apply}</button>
      <p id="metadata-trouble" className="trouble-text" role="alert">
        {isWrong ? texts.metadataWrong : ""}
      </p>
    </form>
  );
}

function filterOf(query: URLSearchParams): Filter {
  const status = STATUSES.find((each) => each === query.get("status"));
  const metadata = pairsOf(query.get("metadata") ?? "") ?? {};
  return status ? { status, metadata } : { metadata };
}

/** `a=b, c=d` as pairs; undefined if it is not written so. */
export function pairsOf(text: string): Record<string, string> | undefined {
  const parts = text
    .split(",")
    .map((part) => part.trim())
    .filter(Boolean);
  const pairs = parts.map((part) => /^([^=]+)=(.*)$/s.exec(part));
  if (pairs.some((pair) => !pair)) return undefined;
  return Object.fromEntries(pairs.map((pair) => [pair![1]!.trim(), pair![2]!.trim()]));
}

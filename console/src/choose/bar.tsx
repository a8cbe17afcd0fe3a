import type { JobView } from "@comfyline/client";
import { useMutation } from "@tanstack/react-query";
import { isPicture } from "../parts/media.js";
import { Trouble } from "../parts/trouble.js";
import { canCancel, canRetry } from "../queries.js";
import { go } from "../router.js";
import { useSession } from "../session.js";
import { chooseTexts } from "../texts/choose.js";
import { useArea } from "../texts/index.js";
import { Results } from "./results.js";
import type { Selection } from "./selection.js";
import { useWork } from "./work.js";
import type { Kind } from "./work.js";
import "./choose.css";

interface Props {
  selection: Selection;
  /** How many jobs the list has now. */
  listed: number;
}

/** How many jobs are chosen, what can be done with them, and what has become of it. */
export default function ChosenBar({ selection, listed }: Props) {
  const texts = useArea(chooseTexts);
  const { work, start, stop, close } = useWork();
  const { jobs } = selection;
  const isRunning = work?.at === "running";
  if (!jobs.length && !work) return null;
  const of: Record<Kind, JobView[]> = {
    zip: jobs.filter(({ artifacts_total: files }) => files),
    cancel: jobs.filter(canCancel),
    retry: jobs.filter(canRetry),
  };
  const leave = (how: () => void) => {
    how();
    // The button that has the focus goes with the bar.
    document.getElementById("content")?.focus({ preventScroll: true });
  };
  return (
    <section
      className="chosen"
      aria-label={texts.bar}
      onKeyDown={({ key }) => key === "Escape" && leave(selection.none)}
    >
      {work && <Results work={work} stop={stop} close={() => leave(close)} />}
      {jobs.length > 0 && (
        <div className="actions">
          {(["zip", "cancel", "retry"] as const).map(
            (kind) =>
              of[kind].length > 0 && (
                <button
                  key={kind}
                  type="button"
                  disabled={isRunning}
                  onClick={() => start(kind, of[kind])}
                >
                  {texts[kind](of[kind].length)}
                </button>
              ),
          )}
          <Compare jobs={of.zip.length === jobs.length ? jobs : []} />
          {jobs.length < listed && (
            <button type="button" className="quiet" onClick={selection.all}>
              {texts.all(listed)}
            </button>
          )}
          <button type="button" className="quiet" onClick={() => leave(selection.none)}>
            {texts.none}
          </button>
        </div>
      )}
      <p className="chosen-count">
        <strong>{texts.chosen(jobs.length)}</strong>{" "}
        <span className="muted keys-hint">{texts.keys}</span>
      </p>
    </section>
  );
}

/** Compares two pictures: the first of each of two jobs, or both of one job. */
function Compare({ jobs }: { jobs: JobView[] }) {
  const texts = useArea(chooseTexts);
  const { client } = useSession();
  const compare = useMutation({
    mutationFn: async () => {
      const each = await Promise.all(jobs.map(({ job_id }) => client.get(job_id)));
      const pictures = each.map(({ job_id, result }) =>
        (result?.artifacts ?? []).filter(isPicture).map(({ number }) => `${job_id}.${number ?? 0}`),
      );
      const two = pictures.length === 1 ? pictures[0]! : pictures.flatMap((all) => all.slice(0, 1));
      if (two.length !== 2) throw new Error(texts.noTwoPictures);
      go(`#/compare?a=${two[0]}&b=${two[1]}`);
    },
  });
  const isOfOne = jobs.length === 1 && jobs[0]!.artifacts_total === 2;
  if (jobs.length !== 2 && !isOfOne) return null;
  return (
    <>
      <button type="button" disabled={compare.isPending} onClick={() => compare.mutate()}>
        {texts.compare}
      </button>
      {compare.error && <Trouble error={compare.error} />}
    </>
  );
}

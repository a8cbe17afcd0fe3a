import { FileUnreadable, MOST_HELD } from "../files/zip.js";
import { fileSize } from "../format.js";
import { titleOf } from "../parts/job-card.js";
import { reason } from "../parts/trouble.js";
import { jobLink } from "../router.js";
import { chooseTexts } from "../texts/choose.js";
import { useArea, useLanguage, useTexts } from "../texts/index.js";
import type { Outcome } from "./each.js";
import type { Kind, Work } from "./work.js";
import { NothingRead, TooLarge } from "./zip-jobs.js";

const MOST_SHOWN = 100;

interface Props {
  work: Work;
  stop: () => void;
  close: () => void;
}

/** How far the work is, and its result for each job: first those that could not be done. */
export function Results({ work, stop, close }: Props) {
  const texts = useArea(chooseTexts);
  const { kind, total, outcomes, at } = work;
  const [failed, good] = [outcomes.filter(isFailed), outcomes.filter((each) => !isFailed(each))];
  const isRunning = at === "running";
  const all = [...failed, ...good];
  return (
    <div className="chosen-results">
      <div className="chosen-line">
        <span role="status">
          {isRunning
            ? texts.running[kind](outcomes.length, total)
            : texts.ended[kind](work.error ? 0 : good.length, total)}{" "}
          {at === "stopped" && texts.stopped}
        </span>
        <button type="button" onClick={isRunning ? stop : close}>
          {isRunning ? texts.stop : texts.close}
        </button>
      </div>
      {work.error !== undefined && <Why error={work.error} />}
      {!isRunning && all.length > 0 && (
        <ul className="outcomes" aria-label={texts.results} tabIndex={0}>
          {all.slice(0, MOST_SHOWN).map((outcome) => (
            <Line key={outcome.job.job_id} kind={kind} outcome={outcome} />
          ))}
          {all.length > MOST_SHOWN && (
            <li className="muted">{texts.further(all.length - MOST_SHOWN)}</li>
          )}
        </ul>
      )}
    </div>
  );
}

const isFailed = ({ error }: Outcome) => error !== undefined;

function Line({ kind, outcome }: { kind: Kind; outcome: Outcome }) {
  const common = useTexts();
  const texts = useArea(chooseTexts);
  const { job, error, made } = outcome;
  return (
    <li>
      <a href={jobLink(job.job_id)}>{titleOf(job) ?? common.workflow}</a>
      {": "}
      {error === undefined ? (
        <>
          {texts.done[kind]}
          {made && (
            <>
              , <a href={jobLink(made)}>{texts.madeJob}</a>
            </>
          )}
        </>
      ) : (
        <Why error={error} />
      )}
    </li>
  );
}

function Why({ error }: { error: unknown }) {
  const common = useTexts();
  const texts = useArea(chooseTexts);
  const language = useLanguage();
  const said = () => {
    if (error instanceof FileUnreadable) return texts.unread(error.message);
    if (error instanceof NothingRead) return texts.noArchive;
    if (error instanceof TooLarge) return texts.tooLarge(fileSize(MOST_HELD, language));
    return reason(error, common);
  };
  return <span className="card-reason">{said()}</span>;
}

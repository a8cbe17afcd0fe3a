import type { ArtifactView, JobView } from "@comfyline/client";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { safeUrl } from "../format.js";
import { titleOf } from "../parts/job-card.js";
import { Media, isPicture } from "../parts/media.js";
import { Trouble } from "../parts/trouble.js";
import { artifactsQuery, jobQuery } from "../queries.js";
import { go, jobLink } from "../router.js";
import type { Place } from "../router.js";
import { useSession } from "../session.js";
import { filesTexts } from "../texts/files.js";
import { useArea, useTexts } from "../texts/index.js";
import "../files/files.css";

/** Two pictures, of one job or of two, side by side or one over the other. */
export default function ComparePage({ query }: Place) {
  const common = useTexts();
  const texts = useArea(filesTexts);
  const [way, setWay] = useState<"beside" | "over">("beside");
  const [a, b] = [query.get("a") ?? "", query.get("b") ?? ""];
  const [left, right] = [usePicture(a), usePicture(b)];
  const error = left.error ?? right.error;
  return (
    <>
      <a href={left.job ? jobLink(left.job.job_id) : "#/"}>
        {left.job ? (titleOf(left.job) ?? common.workflow) : common.back}
      </a>
      <h1>{texts.compareTitle}</h1>
      {error && <Trouble error={error} />}
      {!error && (left.isPending || right.isPending) && <p className="muted">{common.loading}</p>}
      {left.isMissing || right.isMissing ? <p className="muted">{texts.samePicture}</p> : null}
      {left.file && right.file && (
        <>
          <div className="actions" role="group" aria-label={texts.way}>
            <Way isOn={way === "beside"} set={() => setWay("beside")} text={texts.sideBySide} />
            <Way isOn={way === "over"} set={() => setWay("over")} text={texts.slider} />
            <button type="button" onClick={() => go(`#/compare?a=${b}&b=${a}`)}>
              {texts.exchange}
            </button>
          </div>
          {way === "beside" ? (
            <div className="beside">
              <Captioned side={texts.left} job={left.job!} file={left.file} />
              <Captioned side={texts.right} job={right.job!} file={right.file} />
            </div>
          ) : (
            <Over left={left.file} right={right.file} />
          )}
          <Differences left={left.job!} right={right.job!} />
        </>
      )}
    </>
  );
}

function Way({ isOn, set, text }: { isOn: boolean; set: () => void; text: string }) {
  return (
    <button type="button" aria-pressed={isOn} className={isOn ? "primary" : ""} onClick={set}>
      {text}
    </button>
  );
}

/** The picture at `<job id>.<number>`. */
function usePicture(place: string) {
  const { client } = useSession();
  const [jobId = "", number = ""] = place.split(".");
  const { data: job, error } = useQuery({ ...jobQuery(client, jobId), enabled: jobId !== "" });
  const has = (file: ArtifactView) => file.number === Number(number) && isPicture(file);
  const first = job?.result?.artifacts.find(has);
  const isFurther = job !== undefined && !first && (job.artifacts_total ?? 0) > Number(number);
  const all = useQuery({ ...artifactsQuery(client, jobId), enabled: isFurther });
  const file = first ?? all.data?.find(has);
  const isPending = jobId !== "" && !file && (!job || (isFurther && !all.data));
  return { job, file, error: error ?? all.error, isPending, isMissing: !isPending && !file };
}

function Captioned({ side, job, file }: { side: string; job: JobView; file: ArtifactView }) {
  const texts = useTexts();
  return (
    <figure>
      <Media file={file} />
      <figcaption>
        <span className="muted">{side}: </span>
        <a href={jobLink(job.job_id)}>{titleOf(job) ?? texts.workflow}</a> · {file.name}
      </figcaption>
    </figure>
  );
}

function Over({ left, right }: { left: ArtifactView; right: ArtifactView }) {
  const texts = useArea(filesTexts);
  const [percent, setPercent] = useState(50);
  return (
    <div className="over">
      <div className="over-pictures">
        <img src={safeUrl(right.url)} alt={`${texts.right}: ${right.name}`} />
        <img
          src={safeUrl(left.url)}
          alt={`${texts.left}: ${left.name}`}
          // Set by a script, which the policy allows; an attribute of the page would be refused.
          style={{ clipPath: `inset(0 ${100 - percent}% 0 0)` }}
        />
        <span className="over-border" style={{ left: `${percent}%` }} />
        <input
          type="range"
          min={0}
          max={100}
          value={percent}
          aria-label={texts.border}
          onChange={({ target }) => setPercent(Number(target.value))}
        />
      </div>
    </div>
  );
}

function Differences({ left, right }: { left: JobView; right: JobView }) {
  const texts = useArea(filesTexts);
  if (left.job_id === right.job_id) return null;
  const names = new Set([...Object.keys(left.params), ...Object.keys(right.params)]);
  const text = (value: unknown) => (value === undefined ? "–" : String(value));
  const differing = [...names].filter((name) => left.params[name] !== right.params[name]);
  return (
    <section aria-labelledby="differences">
      <h2 id="differences">{texts.differences}</h2>
      {differing.length === 0 && <p className="muted">{texts.noDifferences}</p>}
      {differing.length > 0 && (
        <table className="differences">
          <thead>
            <tr>
              <td />
              <th scope="col">{texts.left}</th>
              <th scope="col">{texts.right}</th>
            </tr>
          </thead>
          <tbody>
            {differing.map((name) => (
              <tr key={name}>
                <th scope="row">{name}</th>
                <td>{text(left.params[name])}</td>
                <td>{text(right.params[name])}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}

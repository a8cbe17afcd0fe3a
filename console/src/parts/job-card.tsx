import type { ArtifactView, JobView } from "@comfyline/client";
import { useQuery } from "@tanstack/react-query";
import { useRef } from "react";
import { ago, safeUrl } from "../format.js";
import { useLiveJob } from "../live.js";
import { isOpen, jobQuery } from "../queries.js";
import { jobLink } from "../router.js";
import { useSession } from "../session.js";
import { useLanguage, useTexts } from "../texts/index.js";
import { isPicture } from "./media.js";
import { useIsSeen } from "./seen.js";
import { ProgressLine, StatusBadge } from "./status.js";

/** One job of the gallery; it changes by itself while the job runs. */
export function JobCard({ view }: { view: JobView }) {
  const texts = useTexts();
  const language = useLanguage();
  const { live } = useSession();
  const job = useLiveJob(live, view);
  const title = titleOf(job) ?? texts.workflow;
  return (
    <article className="card">
      <Picture job={job} preview={job.live?.preview} />
      <div className="card-text">
        <p className="card-title" title={title}>
          <a href={jobLink(job.job_id)}>{title}</a>
        </p>
        <p className="card-line">
          <StatusBadge status={job.status} />
          <time className="muted" dateTime={job.timestamps.queued_at}>
            {ago(job.timestamps.queued_at, language)}
          </time>
        </p>
        {isOpen(job) && <ProgressLine job={job} />}
        {job.error && <p className="card-error">{job.error.message}</p>}
      </div>
    </article>
  );
}

export function titleOf({ params, metadata }: JobView): string | undefined {
  const prompt = params["prompt"];
  if (typeof prompt === "string" && prompt) return prompt;
  return Object.values(metadata)[0];
}

function Picture({ job, preview }: { job: JobView; preview?: string | null | undefined }) {
  const texts = useTexts();
  const place = useRef<HTMLDivElement>(null);
  const isSeen = useIsSeen(place);
  const { client } = useSession();
  const { data } = useQuery({
    ...jobQuery(client, job.job_id),
    enabled: isSeen && job.status === "succeeded",
  });
  const shown = data?.result?.artifacts.find(isPicture);
  const url = isOpen(job) ? preview && safeUrl(preview) : shown && safeUrl(shown.url);
  return (
    <div className="thumbnail" ref={place}>
      {url ? (
        <img src={url} alt={isOpen(job) ? texts.preview : (shown?.name ?? "")} loading="lazy" />
      ) : (
        <span className="kind">{kindOf(data?.result?.artifacts, job)}</span>
      )}
    </div>
  );
}

/** What a card without a picture says in its place. */
function kindOf(artifacts: ArtifactView[] | undefined, job: JobView): string {
  if (job.error) return job.error.node_type ?? job.error.type;
  return artifacts?.[0]?.name ?? "";
}

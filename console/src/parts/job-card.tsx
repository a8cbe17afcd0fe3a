import type { ArtifactView, JobView } from "@comfyline/client";
import { useQuery } from "@tanstack/react-query";
import { memo, useEffect, useRef, useState } from "react";
import { ago, safeUrl } from "../format.js";
import { useLiveJob } from "../live.js";
import { isOpen, jobQuery } from "../queries.js";
import { jobLink } from "../router.js";
import { useSession } from "../session.js";
import { useLanguage, useTexts } from "../texts/index.js";
import { isPicture } from "./media.js";
import { useIsNear } from "./seen.js";
import { ProgressLine, StatusBadge } from "./status.js";

/** One job of the gallery; it changes by itself while the job runs. */
export const JobCard = memo(function JobCard({ view }: { view: JobView }) {
  const texts = useTexts();
  const language = useLanguage();
  const { live } = useSession();
  const place = useRef<HTMLElement>(null);
  const isNear = useIsNear(place);
  const job = useLiveJob(live, view);
  const isWatched = isNear && isOpen(job);
  useEffect(() => (isWatched ? live.watch(job.job_id) : undefined), [live, isWatched, job.job_id]);
  const title = titleOf(job) ?? texts.workflow;
  return (
    <article className="card" ref={place}>
      <Picture job={job} preview={job.live?.preview} isNear={isNear} />
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
});

export function titleOf({ params, metadata }: JobView): string | undefined {
  const prompt = params["prompt"];
  if (typeof prompt === "string" && prompt) return prompt;
  return Object.values(metadata)[0];
}

interface PictureProps {
  job: JobView;
  preview?: string | null | undefined;
  isNear: boolean;
}

/** The thumbnail, or the preview of a running job. */
function Picture({ job, preview, isNear }: PictureProps) {
  const texts = useTexts();
  const { client } = useSession();
  const [broken, setBroken] = useState<readonly string[]>([]);
  const listed = urlOf(job);
  // A deployment may make no thumbnails, and the URLs of a list that was read long ago have ended.
  const isMissing = job.status === "succeeded" && (!listed || broken.includes(listed));
  const read = useQuery({ ...jobQuery(client, job.job_id), enabled: isNear && isMissing });
  const shown = read.data?.result?.artifacts.find(isPicture);
  const found = [listed, read.data && urlOf(read.data), shown && safeUrl(shown.url)];
  const ended = found.find((each) => each && !broken.includes(each));
  const url = isOpen(job) ? preview && safeUrl(preview) : ended;
  const files = job.artifacts_total ?? 0;
  return (
    <div className="thumbnail">
      {url ? (
        <img
          src={url}
          alt={isOpen(job) ? texts.preview : (shown?.name ?? "")}
          width={512}
          height={512}
          loading="lazy"
          onError={() => setBroken((before) => [...before, url])}
        />
      ) : (
        <span className="kind">{kindOf(read.data?.result?.artifacts, job)}</span>
      )}
      {files > 1 && <span className="count">{texts.fileCount(files)}</span>}
    </div>
  );
}

const urlOf = ({ thumbnail }: JobView) => (thumbnail ? safeUrl(thumbnail.url) : undefined);

/** What a card without a picture says in its place. */
function kindOf(artifacts: ArtifactView[] | undefined, job: JobView): string {
  if (job.error) return job.error.node_type ?? job.error.type;
  return artifacts?.[0]?.name ?? "";
}

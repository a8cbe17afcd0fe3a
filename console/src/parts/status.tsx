import type { JobView, Status } from "@comfyline/client";
import { useEffect, useState } from "react";
import { duration } from "../format.js";
import type { LiveJob } from "../live.js";
import { useLanguage, useTexts } from "../texts/index.js";

export function StatusBadge({ status }: { status: Status }) {
  const texts = useTexts();
  return <span className={`badge ${status}`}>{texts.status[status]}</span>;
}

/** How far a job is that has not ended: bar, node, step and the time that is left. */
export function ProgressLine({ job }: { job: JobView & { live?: LiveJob } }) {
  const texts = useTexts();
  const language = useLanguage();
  const left = useTimeLeft(job);
  if (job.status === "queued") {
    const place = job.queue_position;
    return <p className="muted">{place ? texts.position(place) : " "}</p>;
  }
  const percent = Math.round(job.progress * 100);
  const step = job.live?.message ?? job.progress_detail.message;
  return (
    <div className="progress">
      <progress aria-label={texts.progress} max={100} value={percent} />
      <p className="muted">
        {percent} %{step ? ` · ${step}` : ""}
        {left !== undefined ? ` · ${texts.eta(duration(left, language))}` : ""}
      </p>
    </div>
  );
}

// Before so much of the attempt was seen, the time that is left would be a guess.
const TELLING = 0.05;

/** Seconds until the end, judged by the pace that was seen. Only this machine's clock is used. */
function useTimeLeft({ status, live }: JobView & { live?: LiveJob }): number | undefined {
  const [now, setNow] = useState(Date.now);
  const isRunning = status === "running";
  useEffect(() => {
    if (!isRunning) return undefined;
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, [isRunning]);
  if (!isRunning || !live?.first || !live.last) return undefined;
  const seen = live.last.progress - live.first.progress;
  if (seen < TELLING) return undefined;
  const pace = seen / (live.last.atMs - live.first.atMs);
  const leftMs = (1 - live.last.progress) / pace - (now - live.last.atMs);
  return Math.max(0, leftMs / 1000);
}

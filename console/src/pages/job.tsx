import { NotFound } from "@comfyline/client";
import type { JobView } from "@comfyline/client";
import { useQuery } from "@tanstack/react-query";
import { lazy, Suspense, useEffect, useRef } from "react";
import { between, duration, safeUrl, when } from "../format.js";
import { useIsLive, useLiveJob } from "../live.js";
import type { LiveJob } from "../live.js";
import { JobActions } from "../parts/job-actions.js";
import { titleOf } from "../parts/job-card.js";
import { JobResult } from "../parts/job-result.js";
import { RequestCode, codeOfGet, codeOfPost, pretty } from "../parts/request-code.js";
import { ProgressLine, StatusBadge } from "../parts/status.js";
import { Timeline } from "../parts/timeline.js";
import { useIsSeen } from "../parts/seen.js";
import { Trouble } from "../parts/trouble.js";
import { eventsQuery, isOpen, jobQuery } from "../queries.js";
import { jobLink } from "../router.js";
import type { Place } from "../router.js";
import { useSession } from "../session.js";
import { useLanguage, useTexts } from "../texts/index.js";

const JobGraph = lazy(() => import("../graph/job-graph.js"));

/** One job: what it made, what happened to it, and what can be done with it. */
export default function JobPage({ rest: jobId }: Place) {
  const texts = useTexts();
  const { client, live } = useSession();
  const isLive = useIsLive(live) !== false;
  const { data, error, refetch } = useQuery(jobQuery(client, jobId, isLive));
  if (data) return <Job view={data} />;
  const isMissing = error instanceof NotFound || error instanceof TypeError;
  return (
    <>
      <a href="#/">{texts.back}</a>
      {!error && <p className="muted">{texts.loading}</p>}
      {isMissing && <h1 className="empty">{texts.notFound}</h1>}
      {error && !isMissing && <Trouble error={error} again={() => void refetch()} />}
    </>
  );
}

function Job({ view }: { view: JobView }) {
  const texts = useTexts();
  const { live } = useSession();
  const job = useLiveJob(live, view);
  const isRunning = isOpen(job);
  useEffect(() => {
    if (isRunning) live.again();
  }, [live, isRunning]);
  const preview = isOpen(job) && job.live?.preview && safeUrl(job.live.preview);
  return (
    <>
      <a href="#/">{texts.back}</a>
      <div className="title">
        <h1 className="job-title">{titleOf(job) ?? texts.workflow}</h1>
        <StatusBadge status={job.status} />
      </div>
      <p className="muted">
        <code>{job.job_id}</code>
        {job.retry_of && (
          <>
            {` · ${texts.retryOf} `}
            <a href={jobLink(job.retry_of)}>
              <code>{job.retry_of}</code>
            </a>
          </>
        )}
      </p>
      <JobActions job={job} />
      {isOpen(job) && <ProgressLine job={job} />}
      {preview && <img className="preview" src={preview} alt={texts.preview} />}
      {job.error && <ErrorBox job={job} />}
      {job.result && <JobResult job={job} result={job.result} />}
      <GraphSection job={job} />
      <div className="columns">
        <History job={job} />
        <Parameters job={job} />
        <Receipt job={job} />
      </div>
      <RequestCode code={codeOf(job)} />
    </>
  );
}

/** The workflow is read and drawn when it comes near the window. */
function GraphSection({ job }: { job: JobView & { live?: LiveJob } }) {
  const texts = useTexts();
  const place = useRef<HTMLElement>(null);
  const isSeen = useIsSeen(place);
  return (
    <section className="graph-section" aria-labelledby="graph" ref={place}>
      <h2 id="graph">{texts.workflow}</h2>
      <Suspense fallback={<p className="muted">{texts.loading}</p>}>
        {isSeen && <JobGraph job={job} />}
      </Suspense>
    </section>
  );
}

function codeOf(job: JobView) {
  if (!Object.keys(job.params).length) return codeOfGet(job.job_id);
  const metadata = Object.keys(job.metadata).length ? { metadata: job.metadata } : {};
  return codeOfPost({ ...job.params, ...metadata });
}

function ErrorBox({ job }: { job: JobView }) {
  const texts = useTexts();
  const { type, message, node_id, node_type, attempt } = job.error!;
  return (
    <section className="trouble" aria-labelledby="error">
      <h2 id="error">{texts.error}</h2>
      <p className="error-message">{message}</p>
      <p className="muted">
        <code>{type}</code>
        {node_id && ` · ${texts.node(node_id, node_type ?? "?")}`}
        {attempt ? ` · ${texts.attempt(attempt)}` : ""}
      </p>
    </section>
  );
}

function History({ job }: { job: JobView }) {
  const texts = useTexts();
  const { client } = useSession();
  const { data, error, refetch } = useQuery(eventsQuery(client, job.job_id));
  return (
    <section aria-labelledby="timeline">
      <h2 id="timeline">{texts.timeline}</h2>
      {error ? <Trouble error={error} again={() => void refetch()} /> : null}
      <Timeline events={data ?? []} job={job} />
    </section>
  );
}

function Parameters({ job }: { job: JobView }) {
  const texts = useTexts();
  const params = Object.entries(job.params);
  const metadata = Object.entries(job.metadata);
  return (
    <section aria-labelledby="parameters">
      <h2 id="parameters">{texts.parameters}</h2>
      {params.length ? <Facts facts={params} /> : <p className="muted">{texts.workflowParams}</p>}
      {metadata.length > 0 && (
        <>
          <h3>{texts.metadata}</h3>
          <Facts facts={metadata} />
        </>
      )}
    </section>
  );
}

function Receipt({ job }: { job: JobView }) {
  const texts = useTexts();
  const language = useLanguage();
  const { queued_at, started_at, finished_at, expires_at } = job.timestamps;
  const time = (seconds: number | undefined) =>
    seconds === undefined ? undefined : duration(seconds, language);
  const facts: [string, unknown][] = [
    [texts.gpuTime, time(job.gpu_seconds)],
    [texts.waited, time(between(queued_at, started_at))],
    [texts.ran, time(between(started_at, finished_at))],
    [texts.attempts, job.attempt],
    [texts.interruptions, job.interruptions],
    [texts.cachedNodes, job.nodes_cached || undefined],
    [texts.priority, texts.priorities[job.priority]],
    [texts.keptUntil, expires_at ? when(expires_at, language) : undefined],
  ];
  return (
    <section aria-labelledby="receipt">
      <h2 id="receipt">{texts.receipt}</h2>
      <Facts facts={facts.filter(([, value]) => value !== undefined)} />
    </section>
  );
}

function Facts({ facts }: { facts: [string, unknown][] }) {
  return (
    <dl className="facts">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{typeof value === "object" ? pretty(value) : String(value)}</dd>
        </div>
      ))}
    </dl>
  );
}

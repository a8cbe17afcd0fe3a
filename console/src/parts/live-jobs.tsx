import type { LiveJobView } from "@comfyline/client";
import { useInfiniteQuery } from "@tanstack/react-query";
import { useState } from "react";
import { ago, when } from "../format.js";
import { liveJobsQuery } from "../operate.js";
import type { LiveStatus } from "../operate.js";
import { jobLink } from "../router.js";
import { useSession } from "../session.js";
import { operate } from "../texts/operate.js";
import { useArea, useLanguage, useTexts } from "../texts/index.js";
import { StatusBadge } from "./status.js";
import { Columns } from "./columns.js";
import type { Column } from "./columns.js";
import { Trouble } from "./trouble.js";

/** The jobs of all owners that have not ended, those that run first. */
export function LiveJobs() {
  const texts = useTexts();
  const own = useArea(operate);
  const { client } = useSession();
  const [status, setStatus] = useState<LiveStatus>();
  const found = useInfiniteQuery(liveJobsQuery(client, status));
  const columns = useColumns();
  const jobs = found.data?.pages.flatMap((page) => page.jobs) ?? [];
  return (
    <section>
      <div className="title">
        <h2>{own.liveJobs}</h2>
        <label className="inline">
          {own.show}
          <select
            value={status ?? ""}
            onChange={({ target }) => setStatus((target.value || undefined) as LiveStatus)}
          >
            <option value="">{own.all}</option>
            <option value="running">{own.running}</option>
            <option value="queued">{own.queued}</option>
          </select>
        </label>
      </div>
      {found.error && <Trouble error={found.error} again={() => void found.refetch()} />}
      {found.isPending && <p className="muted">{texts.loading}</p>}
      {found.data && !jobs.length && (
        <p className="empty muted">{status ? own.noneOfState : own.noJobs}</p>
      )}
      {jobs.length > 0 && (
        <Columns
          label={own.liveJobs}
          columns={columns}
          rows={ordered(jobs)}
          keyOf={({ job_id }) => job_id}
        />
      )}
      {found.hasNextPage && (
        <p className="end">
          <button
            type="button"
            disabled={found.isFetchingNextPage}
            onClick={() => void found.fetchNextPage()}
          >
            {texts.more}
          </button>
        </p>
      )}
    </section>
  );
}

/** Each once, because a job that moves between two pages may come twice. */
function ordered(jobs: LiveJobView[]): LiveJobView[] {
  const each = [...new Map(jobs.map((job) => [job.job_id, job])).values()];
  const rank = ({ status }: LiveJobView) => (status === "queued" ? 1 : 0);
  return each.sort((a, b) => rank(a) - rank(b) || a.since.localeCompare(b.since));
}

function useColumns(): Column<LiveJobView>[] {
  const own = useArea(operate);
  const language = useLanguage();
  const { caller } = useSession();
  const id = (job: LiveJobView) => <code className="id">{job.job_id}</code>;
  return [
    {
      title: own.state,
      cell: (job) => (
        <>
          <StatusBadge status={job.status} />
          {job.status === "running" && (
            <small className="muted"> {Math.round(job.progress * 100)} %</small>
          )}
        </>
      ),
    },
    {
      title: own.job,
      // Only an owner may read a job in full.
      cell: (job) =>
        job.owner === caller.owner ? <a href={jobLink(job.job_id)}>{id(job)}</a> : id(job),
    },
    { title: own.owner, cell: ({ owner, user }) => (user ? `${owner} · ${user}` : owner) },
    { title: own.priority, cell: ({ priority }) => own.lanes[priority] ?? priority },
    { title: own.attempt, cell: ({ attempt }) => attempt },
    {
      title: own.worker,
      cell: ({ worker_id: worker }) => (worker ? <code className="id">{worker}</code> : "–"),
    },
    {
      title: own.since,
      cell: ({ since }) => (
        <time dateTime={since} title={when(since, language)}>
          {ago(since, language)}
        </time>
      ),
    },
  ];
}

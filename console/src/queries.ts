/** The reads of the API, and how a change of one job reaches the lists that show it. */

import type {
  ArtifactView,
  Comfyline,
  JobPage,
  JobView,
  OwnerPage,
  Status,
} from "@comfyline/client";
import { infiniteQueryOptions, queryOptions } from "@tanstack/react-query";
import type { InfiniteData, QueryClient } from "@tanstack/react-query";

const PAGE = 24;
// Signed URLs live for 15 minutes.
const URLS_LIVE_MS = 12 * 60_000;

export interface Filter {
  status?: Status;
  metadata: Record<string, string>;
}

type Pages = InfiniteData<JobPage, string | undefined>;

export function jobsQuery(client: Comfyline, filter: Filter, isLive = true) {
  return infiniteQueryOptions({
    queryKey: ["jobs", filter],
    initialPageParam: undefined as string | undefined,
    queryFn: async ({ pageParam: cursor, signal }): Promise<JobPage> => {
      const pages = client.list({ ...filter, limit: PAGE, cursor, signal });
      const { value } = await pages.next();
      return value as JobPage;
    },
    getNextPageParam: (page: JobPage) => page.next_cursor ?? undefined,
    refetchInterval: isLive ? false : QUEUE_POLL_MS,
  });
}

/** Without live changes (`isLive`), jobs that have not ended are read again and again. */
export function jobQuery(client: Comfyline, jobId: string, isLive = true) {
  return queryOptions({
    queryKey: ["job", jobId],
    queryFn: ({ signal }) => client.get(jobId, { signal }),
    staleTime: URLS_LIVE_MS,
    refetchInterval: ({ state }) => pollMs(state.data, isLive),
  });
}

// A place in the queue is not pushed.
const QUEUE_POLL_MS = 10_000;
const POLL_MS = 3_000;

function pollMs(job: JobView | undefined, isLive: boolean): number | false {
  if (!job || !isOpen(job)) return false;
  if (!isLive) return POLL_MS;
  return job.status === "queued" ? QUEUE_POLL_MS : false;
}

export function isOpen({ status }: JobView): boolean {
  return status === "queued" || status === "running" || status === "canceling";
}

/** Whether the job can be canceled. */
export function canCancel({ status }: JobView): boolean {
  return status === "queued" || status === "running";
}

/** Whether the service makes another job of it. */
export function canRetry({ status }: JobView): boolean {
  return status === "failed" || status === "canceled" || status === "expired";
}

export function eventsQuery(client: Comfyline, jobId: string) {
  return queryOptions({
    queryKey: ["events", jobId],
    queryFn: async ({ signal }) => (await client.history(jobId, { signal })).events,
  });
}

/** The further pages of a job's files, after those that the job shows. */
export function artifactsQuery(client: Comfyline, jobId: string) {
  return queryOptions({
    queryKey: ["artifacts", jobId],
    queryFn: ({ signal }) => allFiles(client, jobId, signal),
    staleTime: URLS_LIVE_MS,
  });
}

export async function allFiles(
  client: Comfyline,
  jobId: string,
  signal: AbortSignal,
): Promise<ArtifactView[]> {
  const all: ArtifactView[] = [];
  for await (const page of client.artifacts(jobId, { signal })) all.push(...page.artifacts);
  return all;
}

export function modelsQuery(client: Comfyline) {
  return queryOptions({
    queryKey: ["models"],
    queryFn: ({ signal }) => client.models({ signal }),
    staleTime: Infinity,
  });
}

// A pause takes half a minute to take effect, so a banner may take as long.
const ME_MS = 30_000;

/** Who the user is, and what an operator has paused. */
export function meQuery(client: Comfyline) {
  return queryOptions({
    queryKey: ["me"],
    queryFn: ({ signal }) => client.me({ signal }),
    refetchInterval: ME_MS,
  });
}

export function usageQuery(client: Comfyline) {
  return queryOptions({
    queryKey: ["usage"],
    queryFn: ({ signal }) => client.usage({ by: "month", signal }),
    staleTime: 0,
  });
}

export function keysQuery(client: Comfyline) {
  return queryOptions({
    queryKey: ["keys"],
    queryFn: async ({ signal }) => (await client.keys({ signal })).keys.toReversed(),
    staleTime: 0,
  });
}

/** The owners that have keys, for operators. */
export function ownersQuery(client: Comfyline) {
  return infiniteQueryOptions({
    queryKey: ["owners"],
    initialPageParam: undefined as string | undefined,
    queryFn: async ({ pageParam: cursor, signal }): Promise<OwnerPage> => {
      const { value } = await client.admin.owners({ cursor, signal }).next();
      return value as OwnerPage;
    },
    getNextPageParam: (page: OwnerPage) => page.next_cursor ?? undefined,
    staleTime: 0,
  });
}

/** What has failed lately, of all owners. */
export function errorsQuery(client: Comfyline, days: number) {
  return queryOptions({
    queryKey: ["errors", days],
    queryFn: ({ signal }) => client.admin.errors({ days, signal }),
    refetchInterval: 60_000,
  });
}

/** A job was read: show it in every list to which it belongs. */
export function keepJob(queries: QueryClient, view: JobView): void {
  queries.setQueryData(["job", view.job_id], view);
  void queries.invalidateQueries({ queryKey: ["events", view.job_id] });
  for (const [key, pages] of queries.getQueriesData<Pages>({ queryKey: ["jobs"] })) {
    if (pages) queries.setQueryData(key, changed(pages, view, key[1] as Filter));
  }
}

export function forgetJob(queries: QueryClient, jobId: string): void {
  void queries.invalidateQueries({ queryKey: ["job", jobId] });
  void refreshLists(queries);
}

/** Many jobs were changed at once. */
export function forgetJobs(queries: QueryClient): void {
  void queries.invalidateQueries({ queryKey: ["job"] });
  void refreshLists(queries);
}

export async function refreshLists(queries: QueryClient): Promise<void> {
  await queries.invalidateQueries({ queryKey: ["jobs"] });
}

function changed(pages: Pages, view: JobView, filter: Filter): Pages {
  const without = pages.pages.map((page) => page.jobs.filter((j) => j.job_id !== view.job_id));
  const place = pages.pages.findIndex((page) => page.jobs.some((j) => j.job_id === view.job_id));
  const known = pages.pages[place];
  const jobs = pages.pages.map((page, n) => {
    if (!known || n !== place) return without[n]!;
    if (!belongs(view, filter)) return without[n]!;
    return page.jobs.map((job) => (job.job_id === view.job_id ? view : job));
  });
  if (!known && belongs(view, filter)) jobs[0] = inserted(jobs[0] ?? [], view);
  return { ...pages, pages: pages.pages.map((page, n) => ({ ...page, jobs: jobs[n]! })) };
}

/** The first page with the job at its place, unless it is older than the page. */
function inserted(jobs: JobView[], view: JobView): JobView[] {
  const at = ({ timestamps }: JobView) => timestamps.queued_at;
  const place = jobs.findIndex((job) => at(job) < at(view));
  if (place === -1) return jobs.length < PAGE ? [...jobs, view] : jobs;
  return [...jobs.slice(0, place), view, ...jobs.slice(place)];
}

function belongs({ status, metadata }: JobView, filter: Filter): boolean {
  const isWanted = !filter.status || filter.status === status;
  return isWanted && Object.entries(filter.metadata).every(([n, v]) => metadata[n] === v);
}

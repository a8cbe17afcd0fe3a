/** The reads of the API for operators. Those of the moment are repeated while the page is seen. */

import type { Comfyline, LiveJobPage } from "@comfyline/client";
import { infiniteQueryOptions, queryOptions } from "@tanstack/react-query";

const EVERY_MS = 5_000;
const SELDOM_MS = 30_000;
const PAGE = 50;

export type LiveStatus = "queued" | "running";

export function workersQuery(client: Comfyline) {
  return queryOptions({
    queryKey: ["operate", "workers"],
    queryFn: ({ signal }) => client.admin.workers({ signal }),
    refetchInterval: EVERY_MS,
  });
}

export function queuesQuery(client: Comfyline) {
  return queryOptions({
    queryKey: ["operate", "queues"],
    queryFn: ({ signal }) => client.admin.queues({ signal }),
    refetchInterval: EVERY_MS,
  });
}

export function liveJobsQuery(client: Comfyline, status: LiveStatus | undefined) {
  return infiniteQueryOptions({
    queryKey: ["operate", "jobs", status],
    initialPageParam: undefined as string | undefined,
    queryFn: async ({ pageParam: cursor, signal }): Promise<LiveJobPage> => {
      const pages = client.admin.jobs({ status, limit: PAGE, cursor, signal });
      const { value } = await pages.next();
      return value as LiveJobPage;
    },
    getNextPageParam: (page: LiveJobPage) => page.next_cursor ?? undefined,
    refetchInterval: EVERY_MS,
  });
}

export function switchesQuery(client: Comfyline) {
  return queryOptions({
    queryKey: ["operate", "switches"],
    queryFn: ({ signal }) => client.admin.switches({ signal }),
    refetchInterval: EVERY_MS,
  });
}

/** Each look costs some calls of SQS, so it is repeated more seldom. */
export function deadLettersQuery(client: Comfyline) {
  return queryOptions({
    queryKey: ["operate", "dead-letters"],
    queryFn: ({ signal }) => client.admin.deadLetters({ signal }),
    refetchInterval: SELDOM_MS,
    staleTime: 0,
  });
}

export function alarmsQuery(client: Comfyline) {
  return queryOptions({
    queryKey: ["operate", "alarms"],
    queryFn: ({ signal }) => client.admin.alarms({ signal }),
    refetchInterval: SELDOM_MS,
    staleTime: 0,
  });
}

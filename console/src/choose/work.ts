/** What can be done with several jobs at once, and how far it is. */

import type { JobView } from "@comfyline/client";
import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { MOST_HELD, choosePlace, write } from "../files/zip.js";
import { forgetJobs } from "../queries.js";
import { useSession } from "../session.js";
import { forEachJob } from "./each.js";
import type { Outcome } from "./each.js";
import { archiveOfJobs } from "./zip-jobs.js";

export type Kind = "zip" | "cancel" | "retry";

export interface Work {
  kind: Kind;
  /** How many jobs there are. */
  total: number;
  /** One for each job that was done or tried, as far as it is. */
  outcomes: Outcome[];
  at: "running" | "ended" | "stopped";
  /** Why all of it has failed. */
  error?: unknown;
}

interface Told {
  signal: AbortSignal;
  told: (outcome: Outcome) => void;
}

export interface Working {
  work: Work | undefined;
  start: (kind: Kind, jobs: JobView[]) => void;
  stop: () => void;
  /** Forget what was done. */
  close: () => void;
}

/** One work at a time. It stops with the page that shows it. */
export function useWork(): Working {
  const { client } = useSession();
  const queries = useQueryClient();
  const [work, setWork] = useState<Work>();
  const leaving = useRef<AbortController>(undefined);
  useEffect(() => () => leaving.current?.abort(), []);

  async function start(kind: Kind, jobs: JobView[]): Promise<void> {
    const controller = (leaving.current = new AbortController());
    const { signal } = controller;
    const change = (next: (now: Work) => Work) => setWork((now) => now && next(now));
    const told = (outcome: Outcome) =>
      change((now) => ({ ...now, outcomes: [...now.outcomes, outcome] }));
    try {
      const begin = await WAYS[kind](jobs);
      if (!begin) return;
      setWork({ kind, total: jobs.length, outcomes: [], at: "running" });
      await begin({ signal, told });
      change((now) => ({ ...now, at: signal.aborted ? "stopped" : "ended" }));
    } catch (error) {
      if (signal.aborted) change((now) => ({ ...now, at: "stopped" }));
      else
        setWork((now) => ({
          ...(now ?? { kind, total: jobs.length, outcomes: [] }),
          at: "ended",
          error,
        }));
    }
    if (kind !== "zip") forgetJobs(queries);
  }

  /** Each is asked right after the click; it answers with what follows. */
  const WAYS: Record<
    Kind,
    (jobs: JobView[]) => Promise<((by: Told) => Promise<void>) | undefined>
  > = {
    zip: async (jobs) => {
      const name = "comfyline.zip";
      const place = await choosePlace(name);
      const most = place === "memory" ? MOST_HELD : Infinity;
      if (!place) return undefined;
      return ({ signal, told }) =>
        write(archiveOfJobs({ client, jobs, signal, most, told }), place, name, signal);
    },
    cancel: async (jobs) => (by) =>
      forEachJob({
        ...by,
        jobs,
        act: async ({ job_id }, signal) => void (await client.cancel(job_id, { signal })),
      }),
    retry: async (jobs) => (by) =>
      forEachJob({
        ...by,
        jobs,
        act: async ({ job_id }, signal) => (await client.retry(job_id, { signal })).id,
      }),
  };

  return {
    work,
    start: (kind, jobs) => void start(kind, jobs),
    stop: () => leaving.current?.abort(),
    close: () => setWork(undefined),
  };
}

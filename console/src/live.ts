/** What the socket tells about the owner's jobs, and the reads that follow from it. */

import type {
  AllJobs,
  AllJobsMessage,
  Comfyline,
  JobMessage,
  JobView,
  Status,
} from "@comfyline/client";
import type { QueryClient } from "@tanstack/react-query";
import { useCallback, useEffect, useSyncExternalStore } from "react";
import { OlderJobs } from "./older.js";
import { forgetJob, keepJob, refreshLists } from "./queries.js";

/** The newest that is known of a job that has not ended. */
export interface LiveJob {
  version: number;
  part: number;
  status?: Status;
  progress: number;
  message?: string | null;
  /** The node that runs. */
  nodeId?: string | null;
  /** The nodes that were seen to run in this attempt. */
  nodesSeen?: ReadonlySet<string>;
  /** The step of the node that runs, and its number of steps. */
  steps?: { step?: number | null | undefined; steps?: number | null | undefined };
  preview?: string | null;
  /** The progress and the local time when the attempt was first and last heard of. */
  first?: Pace;
  last?: Pace;
}

interface Pace {
  progress: number;
  atMs: number;
}

// Changes within this time are read together. Of more than MOST_READS jobs the lists are read anew.
const GATHER_MS = 300;
const MOST_READS = 8;
const MOST_SEEN = 1000; // nodes of a job

/** Follows all jobs of the owner while it runs, and keeps the caches of reads up to date. */
export class LiveJobs {
  readonly #jobs = new Map<string, LiveJob>();
  readonly #listeners = new Map<string | undefined, Set<() => void>>();
  readonly #older: OlderJobs = new OlderJobs(() => this.#all);
  readonly #changed = new Set<string>();
  #isLive: boolean | undefined;
  #all: AllJobs | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly client: Comfyline,
    private readonly queries: QueryClient,
    private readonly refused: (error: unknown) => void,
  ) {}

  /** Follow until the signal is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    try {
      this.#all = this.client.allEvents({ signal });
      for await (const message of this.#all) this.take(message);
    } catch (error) {
      if (!signal.aborted) {
        this.#setLive(false);
        this.refused(error);
      }
    } finally {
      clearTimeout(this.#timer);
    }
  }

  /** A job was posted or is looked at: follow it now, also right after the sign-in. */
  again(): void {
    void this.#all?.again();
  }

  /** Follows the job of a card while the card is shown, also if the job is an old one. */
  watch(jobId: string): () => void {
    return this.#older.watch(jobId);
  }

  take(message: AllJobsMessage): void {
    this.#older.take(message);
    if (message.type === "connected") {
      this.#setLive(true);
      void refreshLists(this.queries);
    } else if (message.type === "lost") {
      this.#setLive(false);
    } else if (this.#isNew(message)) {
      this.#keep(message);
    }
  }

  #isNew({ job_id, version, part }: JobMessage): boolean {
    const known = this.#jobs.get(job_id);
    return !known || version > known.version || (version === known.version && part > known.part);
  }

  #keep(message: JobMessage): void {
    const { job_id, version, part } = message;
    const before = this.#jobs.get(job_id) ?? { version: 0, part: 0, progress: 0 };
    const next: LiveJob = { ...before, version, part };
    if (message.type === "progress") {
      const { progress, message: text, node: nodeId, step, steps, preview } = message;
      const last = { progress, atMs: Date.now() };
      Object.assign(next, { progress, message: text, first: before.first ?? last, last });
      Object.assign(next, { nodeId, steps: { step, steps }, nodesSeen: seen(before, nodeId) });
      if (preview) next.preview = preview;
    } else if (message.type === "status") {
      const { status, progress } = message;
      Object.assign(next, { status, progress });
      if (status === "queued") {
        Object.assign(next, { message: null, nodeId: null, steps: {}, preview: null });
        delete next.first; // another attempt begins
        delete next.nodesSeen;
      }
      this.#read(job_id);
    } else if (message.type === "done") {
      next.status = message.status;
      this.#read(job_id);
    }
    this.#jobs.set(job_id, next);
    this.#tell(job_id);
  }

  #read(jobId: string): void {
    this.#changed.add(jobId);
    this.#timer ??= setTimeout(() => void this.#readChanged(), GATHER_MS);
  }

  async #readChanged(): Promise<void> {
    this.#timer = undefined;
    const ids = [...this.#changed];
    this.#changed.clear();
    if (ids.length > MOST_READS) return refreshLists(this.queries);
    await Promise.all(ids.map((id) => this.#readOne(id)));
  }

  async #readOne(id: string): Promise<void> {
    try {
      keepJob(this.queries, await this.client.get(id));
    } catch (error) {
      this.refused(error);
      forgetJob(this.queries, id);
    }
  }

  #setLive(isLive: boolean): void {
    this.#isLive = isLive;
    this.#tell(undefined);
  }

  #tell(about: string | undefined): void {
    this.#listeners.get(about)?.forEach((listener) => listener());
  }

  /** Calls the listener when there is news of the job; undefined is the connection. */
  subscribe(about: string | undefined, listener: () => void): () => void {
    const listeners = this.#listeners.get(about) ?? new Set();
    this.#listeners.set(about, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (!listeners.size && this.#listeners.get(about) === listeners)
        this.#listeners.delete(about);
    };
  }

  /** What the socket knows of the job. */
  job(jobId: string): LiveJob | undefined {
    return this.#jobs.get(jobId);
  }

  /** Whether changes are told; undefined before the first connection. */
  get isLive(): boolean | undefined {
    return this.#isLive;
  }
}

function seen({ nodesSeen }: LiveJob, nodeId: string | null | undefined): ReadonlySet<string> {
  if (!nodeId || nodesSeen?.has(nodeId) || (nodesSeen?.size ?? 0) >= MOST_SEEN)
    return nodesSeen ?? new Set();
  return new Set([...(nodesSeen ?? []), nodeId]);
}

/** Follows while the component is mounted. */
export function useFollowing(live: LiveJobs): void {
  useEffect(() => {
    const leaving = new AbortController();
    void live.run(leaving.signal);
    return () => leaving.abort();
  }, [live]);
}

/** The job as it is now: what was read, and what the socket has told since. */
export function useLiveJob(live: LiveJobs, view: JobView): JobView & { live?: LiveJob } {
  const told = useNews(live, view.job_id, () => live.job(view.job_id));
  if (!told || told.version < view.version) return view;
  return { ...view, status: told.status ?? view.status, progress: told.progress, live: told };
}

export function useIsLive(live: LiveJobs): boolean | undefined {
  return useNews(live, undefined, () => live.isLive);
}

function useNews<T>(live: LiveJobs, about: string | undefined, read: () => T): T {
  const subscribe = useCallback(
    (listener: () => void) => live.subscribe(about, listener),
    [live, about],
  );
  return useSyncExternalStore(subscribe, read);
}

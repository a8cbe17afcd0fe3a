/** React hooks: `useComfyline` makes a client, `useJob` follows a job. */

import { useEffect, useState } from "react";
import { Comfyline } from "./client.js";
import { UNKNOWN, stateAfter } from "./core/state.js";
import type { JobState } from "./core/state.js";
import type { Options } from "./settings.js";

/** A job as a component shows it. */
export interface FollowedJob extends JobState {
  /** Why the job cannot be followed any longer, such as `NotFound`. The job itself may continue. */
  error: unknown;
}

const NOT_FOLLOWED: FollowedJob = { ...UNKNOWN, error: undefined };

/** One client for the component's life, made from the options of its first render. */
export function useComfyline(options: Options = {}): Comfyline {
  return useState(() => new Comfyline(options))[0];
}

/**
 * The job's state, kept up to date while the component is mounted.
 *
 * Without a `jobId` nothing is followed. Another `jobId` begins with an unknown state.
 */
export function useJob(client: Comfyline, jobId: string | null | undefined): FollowedJob {
  const [followed, setFollowed] = useState({ jobId, job: NOT_FOLLOWED });
  useEffect(() => {
    if (!jobId) return undefined;
    const leaving = new AbortController();
    let job = NOT_FOLLOWED;
    const show = (next: FollowedJob) => setFollowed({ jobId, job: (job = next) });
    const follow = async () => {
      show(NOT_FOLLOWED);
      for await (const message of client.job(jobId).events({ signal: leaving.signal })) {
        show({ ...stateAfter(job, message), error: undefined });
      }
    };
    follow().catch((error: unknown) => {
      if (!leaving.signal.aborted) show({ ...job, error });
    });
    return () => leaving.abort();
  }, [client, jobId]);
  return followed.jobId === jobId ? followed.job : NOT_FOLLOWED;
}

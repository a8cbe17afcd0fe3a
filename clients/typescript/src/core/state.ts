/** The state of a job, folded from its messages: what a page shows. */

import type { ArtifactMessage, DoneMessage, JobMessage, Status } from "./wire.js";

/** A job as its messages have told it so far. */
export interface JobState {
  /** Undefined until the first message. */
  status: Status | undefined;
  /** How much of the attempt is done, from 0 to 1. */
  progress: number;
  /** The progress as a short text. */
  message: string | undefined;
  /** Why the job waits again. */
  reason: string | undefined;
  /** Approximate place in the queue while the job waits. */
  queuePosition: number | undefined;
  /** Signed URL of the newest preview, if the job was submitted with `previews`. */
  preview: string | undefined;
  /** The files stored so far by this attempt. At most 100; `Job.artifacts` lists all. */
  artifacts: readonly ArtifactMessage[];
  /** The end of the job, once it has ended. */
  done: DoneMessage | undefined;
}

export const UNKNOWN: JobState = {
  status: undefined,
  progress: 0,
  message: undefined,
  reason: undefined,
  queuePosition: undefined,
  preview: undefined,
  artifacts: [],
  done: undefined,
};

/** The state after one more message. Neither argument is changed. */
export function stateAfter(state: JobState, message: JobMessage): JobState {
  if (message.type === "progress") {
    const preview = message.preview ?? state.preview;
    return { ...state, progress: message.progress, message: message.message ?? undefined, preview };
  }
  if (message.type === "artifact") {
    // A file of an earlier attempt is void.
    const attempts = state.artifacts.filter((file) => file.attempt === message.attempt);
    return { ...state, artifacts: [...attempts, message] };
  }
  if (message.type === "done") return { ...state, status: message.status, done: message };
  const isWaiting = message.status === "queued";
  return {
    ...state,
    status: message.status,
    progress: message.progress,
    message: isWaiting ? undefined : state.message,
    reason: message.reason ?? undefined,
    queuePosition: message.queue_position ?? undefined,
    artifacts: isWaiting ? [] : state.artifacts,
  };
}

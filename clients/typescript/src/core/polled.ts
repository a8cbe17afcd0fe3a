/**
 * Makes a job's messages from its state as read over HTTP, while no socket delivers them.
 *
 * They have the order and the numbering of the service's own messages. They show the present state
 * only, not the changes before it: `GET /jobs/{id}/events` gives the messages that were missed.
 */

import { END_STATUS } from "./wire.js";
import type { ArtifactMessage, DoneMessage, EndStatus, JobMessage, JobView } from "./wire.js";

/** A message with the job's state or progress; for an ended job also its files and `done`. */
export function messagesOf(view: JobView, isNewState: boolean): JobMessage[] {
  const { job_id, version, status, progress, attempt } = view;
  const at = { job_id, version, part: 0, progress };
  if (status === "running" && !isNewState) {
    const { node, node_type, step, steps, message } = view.progress_detail;
    return [{ ...at, type: "progress", node, node_type, step, steps, message } as JobMessage];
  }
  const queue_position = view.queue_position ?? null;
  const state: JobMessage = { ...at, type: "status", status, attempt, queue_position };
  return END_STATUS.includes(status) ? [state, ...ending(view)] : [state];
}

function ending(view: JobView): JobMessage[] {
  const { job_id, version, attempt } = view;
  const artifacts = view.result?.artifacts ?? [];
  const total = Math.max(view.result?.artifacts_total ?? 0, artifacts.length);
  const files = artifacts.map(({ url, name, kind, node }, number): ArtifactMessage => {
    const file = { type: "artifact" as const, number, url, name, kind, node, attempt };
    return { job_id, version, part: number + 1, ...file };
  });
  const end: DoneMessage = {
    job_id,
    version,
    part: total + 1,
    type: "done",
    status: view.status as EndStatus,
    result: view.result ?? null,
    error: view.error ?? null,
  };
  return [...files, end];
}

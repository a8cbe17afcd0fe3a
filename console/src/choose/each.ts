/** The same call for many jobs: each by itself, a few at once, with a result for each. */

import type { JobView } from "@comfyline/client";

// So many calls at once keep the waits for each other short, and leave the service room for others.
const AT_ONCE = 4;

export interface Outcome {
  job: JobView;
  /** Why it could not be done. */
  error?: unknown;
  /** The job that was made. */
  made?: string;
}

export interface Each {
  jobs: JobView[];
  /** Answers with the id of the job that was made, if one was. */
  act: (job: JobView, signal: AbortSignal) => Promise<string | undefined>;
  /** Nothing is begun any more once it is aborted. What was not begun has no outcome. */
  signal: AbortSignal;
  told: (outcome: Outcome) => void;
}

export async function forEachJob({ jobs, act, signal, told }: Each): Promise<void> {
  const waiting = jobs.values();
  const worker = async () => {
    for (const job of waiting) {
      const outcome = await outcomeOf(job, () => act(job, signal));
      if (!(signal.aborted && outcome.error)) told(outcome);
      if (signal.aborted) return;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

async function outcomeOf(job: JobView, act: () => Promise<string | undefined>): Promise<Outcome> {
  try {
    const made = await act();
    return made ? { job, made } : { job };
  } catch (error) {
    return { job, error };
  }
}

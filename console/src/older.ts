/** Jobs on the page that the service does not follow by itself, because 100 newer ones have not ended. */

import type { AllJobs, AllJobsMessage } from "@comfyline/client";

// A page shows some dozens of cards at once. The service takes 250 subscriptions of a socket.
const MOST_FOLLOWED = 60;

export class OlderJobs {
  readonly #shown = new Map<string, number>(); // how often each job is shown
  readonly #told = new Set<string>(); // the jobs that this connection has told about
  readonly #followed = new Set<string>();
  #isConnected = false;

  constructor(private readonly all: () => AllJobs | undefined) {}

  /** Follows the job until the returned function is called. */
  watch(jobId: string): () => void {
    this.#shown.set(jobId, (this.#shown.get(jobId) ?? 0) + 1);
    this.#follow(jobId);
    return () => {
      const left = (this.#shown.get(jobId) ?? 1) - 1;
      if (left) this.#shown.set(jobId, left);
      else this.#leave(jobId);
    };
  }

  take(message: AllJobsMessage): void {
    if (message.type === "lost") {
      this.#isConnected = false;
      this.#told.clear();
      this.#followed.clear();
    } else if (message.type === "connected") {
      // By now the service has told the states of all jobs that it follows by itself.
      this.#isConnected = true;
      [...this.#shown.keys()].forEach((jobId) => this.#follow(jobId));
    } else {
      this.#told.add(message.job_id);
    }
  }

  #follow(jobId: string): void {
    if (!this.#isConnected || this.#told.has(jobId) || this.#followed.has(jobId)) return;
    if (this.#followed.size >= MOST_FOLLOWED) return;
    this.#followed.add(jobId);
    void this.all()?.follow(jobId);
  }

  #leave(jobId: string): void {
    this.#shown.delete(jobId);
    if (!this.#followed.delete(jobId)) return;
    this.#told.delete(jobId);
    void this.all()?.unfollow(jobId);
  }
}

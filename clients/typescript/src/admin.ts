/** What an operator sees and does: `client.admin`. */

import type { Api } from "./api.js";
import type { CallOptions } from "./client.js";
import type { FailureList, LiveJobPage, QueueList, WorkerList } from "./core/wire.js";

/** Which jobs of all owners are listed. */
export interface LiveJobsOptions extends CallOptions {
  status?: "queued" | "running" | undefined;
  limit?: number | undefined;
  /** `next_cursor` of an earlier page, to continue after it. */
  cursor?: string | undefined;
}

/** The calls for operators. Each throws Forbidden if the key lacks the scope `admin`. */
export class Admin {
  readonly #api: Api;

  constructor(api: Api) {
    this.#api = api;
  }

  /** The active workers, and what they do. */
  workers({ signal }: CallOptions = {}): Promise<WorkerList> {
    return this.#api.call<WorkerList>("GET", "/admin/workers", "workers", { signal });
  }

  /** What waits in each lane, what the scaler does about it, and how much has failed. */
  queues({ signal }: CallOptions = {}): Promise<QueueList> {
    return this.#api.call<QueueList>("GET", "/admin/queues", "pools", { signal });
  }

  /** What has failed within the last days (1 to 30), in groups. */
  errors({ days, signal }: CallOptions & { days?: number } = {}): Promise<FailureList> {
    return this.#api.call<FailureList>("GET", "/admin/errors", "groups", {
      query: { days },
      signal,
    });
  }

  /**
   * The jobs of all owners that have not ended, in pages of `limit` (1 to 100).
   *
   * With `status` a page may be empty although later pages are not: each searches 1,000 jobs.
   */
  async *jobs(options: LiveJobsOptions = {}): AsyncGenerator<LiveJobPage, void, undefined> {
    const { status, limit = 20, signal } = options;
    for (let cursor = options.cursor, more = true; more; more = cursor !== undefined) {
      const call = { query: { limit, status, cursor }, signal };
      const page = await this.#api.call<LiveJobPage>("GET", "/admin/jobs", "jobs", call);
      cursor = page.next_cursor ?? undefined;
      yield page;
    }
  }
}

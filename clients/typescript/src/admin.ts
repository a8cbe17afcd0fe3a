/** What an operator sees and does: `client.admin`. */

import type { Api } from "./api.js";
import type { CallOptions } from "./client.js";
import type {
  AlarmList,
  DeadLetterList,
  FailureList,
  LiveJobPage,
  QueueList,
  RedriveAnswer,
  SwitchesView,
  WorkerList,
  KeyLimits,
  KeyPage,
  KeyView,
  OwnerPage,
  SessionsEnded,
} from "./core/wire.js";
import { keyPath } from "./paths.js";

/** Which page of a list is read first. */
export interface PageOptions extends CallOptions {
  limit?: number | undefined;
  /** `next_cursor` of an earlier page, to continue after it. */
  cursor?: string | undefined;
}

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

  /** The owners that have keys, by name, in pages of `limit` (1 to 100). */
  async *owners(options: PageOptions = {}): AsyncGenerator<OwnerPage, void, undefined> {
    const { limit = 20, signal } = options;
    for (let cursor = options.cursor, more = true; more; more = cursor !== undefined) {
      const call = { query: { limit, cursor }, signal };
      const page = await this.#api.call<OwnerPage>("GET", "/admin/owners", "owners", call);
      cursor = page.next_cursor ?? undefined;
      yield page;
    }
  }

  /** The keys of all owners, in pages of `limit` (1 to 100), of which some may be empty. */
  async *keys(options: PageOptions = {}): AsyncGenerator<KeyPage, void, undefined> {
    const { limit = 100, signal } = options;
    for (let cursor = options.cursor, more = true; more; more = cursor !== undefined) {
      const call = { query: { limit, cursor }, signal };
      const page = await this.#api.call<KeyPage>("GET", "/admin/keys", "keys", call);
      cursor = page.next_cursor ?? undefined;
      yield page;
    }
  }

  /** Disable a key for good, and with it the keys that it has made. @throws TypeError wrong id. */
  disableKey(keyId: string, { signal }: CallOptions = {}): Promise<KeyView> {
    const path = `/admin${keyPath(keyId)}/disable`;
    return this.#api.call<KeyView>("POST", path, "state", { signal });
  }

  /** Replace the limits of a key. @throws TypeError wrong id. */
  limitKey(
    keyId: string,
    limits: Partial<KeyLimits>,
    { signal }: CallOptions = {},
  ): Promise<KeyView> {
    const path = `/admin${keyPath(keyId)}/limits`;
    return this.#api.call<KeyView>("PUT", path, "state", { body: { limits }, signal });
  }

  /**
   * Sign the owner, or the person, out of the console everywhere; answers from how many sessions.
   * `keyId`: only the sessions of this key of the owner.
   */
  async endSessions(owner: string, keyId?: string, { signal }: CallOptions = {}): Promise<number> {
    const body = { owner, ...(keyId ? { key_id: keyId } : {}) };
    const path = "/admin/sessions/end";
    for (let ended = 0; ;) {
      const answer = await this.#api.call<SessionsEnded>("POST", path, "ended", { body, signal });
      ended += answer.ended;
      if (!answer.more) return ended;
    }
  }

  /** Some tickets that were delivered too often, with their jobs. They stay in the queue. */
  deadLetters({ signal }: CallOptions = {}): Promise<DeadLetterList> {
    return this.#api.call<DeadLetterList>("GET", "/admin/dead-letters", "dead_letters", { signal });
  }

  /** Handle up to 50 tickets that were delivered too often: live jobs get new tickets. */
  redrive({ signal }: CallOptions = {}): Promise<RedriveAnswer> {
    const path = "/admin/dead-letters/redrive";
    return this.#api.call<RedriveAnswer>("POST", path, "sent_again", { signal });
  }

  /** Whether the service accepts jobs and sockets. */
  switches({ signal }: CallOptions = {}): Promise<SwitchesView> {
    return this.#api.call<SwitchesView>("GET", "/admin/switches", "version", { signal });
  }

  /**
   * Pause or resume the service; a switch that is not named stays as it is. It takes 30 s at most.
   *
   * @param seen the switches as `switches` has returned them; without it they are read first.
   * @throws Conflict another operator has changed a switch since then. Nothing was changed.
   */
  async setSwitches(
    changes: { jobs_enabled?: boolean; sockets_enabled?: boolean },
    seen?: SwitchesView,
    { signal }: CallOptions = {},
  ): Promise<SwitchesView> {
    const { jobs_enabled, sockets_enabled, version } = seen ?? (await this.switches({ signal }));
    const body = { jobs_enabled, sockets_enabled, ...changes, version };
    return this.#api.call<SwitchesView>("PUT", "/admin/switches", "version", { body, signal });
  }

  /** The deployment's alarms, those that are raised first. */
  alarms({ signal }: CallOptions = {}): Promise<AlarmList> {
    return this.#api.call<AlarmList>("GET", "/admin/alarms", "alarms", { signal });
  }
}

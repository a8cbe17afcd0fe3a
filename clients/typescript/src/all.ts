/** Follow all jobs of the key's owner over one socket, which is opened again whenever it is lost. */

import type { Api } from "./api.js";
import { SocketLost, jobMessage, refusesOneJob, repeatAfterSeconds } from "./core/incoming.js";
import { backoffSeconds } from "./core/retries.js";
import type { JobMessage } from "./core/wire.js";
import { Shell } from "./follow.js";
import { now, pause } from "./timing.js";

/**
 * What following all jobs brings.
 *
 * `connected`: from now on every change is told. What changed before is not, so read the jobs now.
 * `lost`: no change is told until the next `connected`.
 */
export type AllJobsMessage = JobMessage | { type: "connected" } | { type: "lost" };

const SUBSCRIBE = { action: "subscribe", jobs: "mine" };
const PING = { action: "ping" };

/** All jobs of the key's owner: iterate over it once. See `Comfyline.allEvents`. */
export class AllJobs implements AsyncIterable<AllJobsMessage> {
  readonly #api: Api;
  readonly #shell: Shell;

  constructor(
    api: Api,
    private readonly signal: AbortSignal | undefined,
  ) {
    this.#api = api;
    this.#shell = new Shell(api, signal);
  }

  /**
   * Follow also the jobs that are not known to be followed yet; nothing if the socket is lost.
   *
   * For half a minute after the first connection the service may not know that posts are followed.
   * Call this after a post, and its job is told at once and not only after that time.
   */
  async again(): Promise<void> {
    await this.#shell.outcome({ do: "send", message: SUBSCRIBE });
  }

  /**
   * Follow this job too, which may be older than the newest that the service follows by itself;
   * nothing if the socket is lost. A new connection does not know the job any more.
   *
   * A socket follows at most 250 jobs in this way. A job that cannot be followed is not told.
   */
  async follow(jobId: string): Promise<void> {
    await this.#shell.outcome({ do: "send", message: { action: "subscribe", job_id: jobId } });
  }

  /** Follow this job no longer than the service follows it by itself. */
  async unfollow(jobId: string): Promise<void> {
    await this.#shell.outcome({ do: "send", message: { action: "unsubscribe", job_id: jobId } });
  }

  /** @throws Unauthorized, Forbidden, SubscriptionRefused. */
  async *[Symbol.asyncIterator](): AsyncGenerator<AllJobsMessage, void, undefined> {
    const { pace } = this.#api.settings;
    try {
      for (let failures = 1; ; failures++) {
        if ((await this.#shell.do({ do: "open", seconds: pace.openSeconds })) === "open") {
          for await (const message of this.#connection(pace.pingSeconds)) {
            if (message.type === "connected") failures = 0;
            yield message;
          }
        }
        yield { type: "lost" };
        await pause(backoffSeconds(pace.backoff, Math.max(1, failures)), this.signal);
      }
    } finally {
      this.#shell.close();
    }
  }

  /** The messages of one socket until it is lost. */
  async *#connection(pingSeconds: number): AsyncGenerator<AllJobsMessage> {
    const shell = this.#shell;
    let isFirst = true;
    let subscribeAt = now();
    let pingAt = now() + pingSeconds;
    try {
      for (;;) {
        const isDue = now() >= subscribeAt;
        if (isDue || now() >= pingAt) {
          await shell.do({ do: "send", message: isDue ? SUBSCRIBE : PING });
          if (isDue) subscribeAt = Infinity;
          pingAt = now() + pingSeconds;
        }
        const seconds = Math.max(0, Math.min(pingAt, subscribeAt) - now());
        const frame = (await shell.do({ do: "receive", seconds })) as string | undefined;
        if (frame === undefined || refusesOneJob(frame)) continue;
        const message = jobMessage(frame);
        if (message) yield message;
        const repeat = message ? undefined : repeatAfterSeconds(frame);
        if (repeat === undefined) continue;
        // A second subscription finds what was posted while the first was not known everywhere.
        if (isFirst) subscribeAt = now() + repeat;
        isFirst = false;
        yield { type: "connected" };
      }
    } catch (error) {
      if (!(error instanceof SocketLost)) throw error;
    } finally {
      shell.close();
    }
  }
}

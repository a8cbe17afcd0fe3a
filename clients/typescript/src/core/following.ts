/**
 * Decides how jobs are followed, without doing any I/O: a generator that yields what to do next.
 *
 * HTTP is always right, and the socket is fast. After a socket is lost, a new one resumes with the
 * missed messages. While no socket can be opened, or one is silent for long, the jobs are read over
 * HTTP, and the messages made from a read pass through the same sieve.
 */

import { RateLimited, ServiceUnavailable, TransportFailed, WaitTimedOut } from "./errors.js";
import { SocketLost, jobMessage } from "./incoming.js";
import { silence } from "./pace.js";
import type { Pace } from "./pace.js";
import { backoffSeconds } from "./retries.js";
import { Sieve } from "./sieve.js";
import type { EventList, JobMessage, JobView, StatusMessage } from "./wire.js";

/** What to do next. The answer, or the error, goes back into the generator. */
export type Step =
  /** Hand the message to the caller. */
  | { do: "emit"; message: JobMessage }
  /** Open a socket. Answer: an `Opening`. */
  | { do: "open"; seconds: number }
  /** Send the message. Error: SocketLost. */
  | { do: "send"; message: Record<string, string | number> }
  /** Wait for the next frame. Answer: its text, or undefined if none came. Error: SocketLost. */
  | { do: "receive"; seconds: number }
  /** Close the socket. */
  | { do: "close" }
  /** Read the job. Answer: a `JobView`. */
  | { do: "read"; jobId: string }
  /** Read the job's changes after a version. Answer: an `EventList`, undefined if there is none. */
  | { do: "history"; jobId: string; after: number }
  /** Wait. */
  | { do: "pause"; seconds: number };

/** `never`: this client has no socket at all, so that it only polls. */
export type Opening = "open" | "failed" | "never";

// TypeScript cannot type the answer of each yield; the functions with one yield below do it.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type Script<Result = void> = Generator<Step, Result, any>;

/** Several jobs that are followed over one socket at a time. `now` is a steady clock in seconds. */
export class Following {
  readonly #open: Map<string, Sieve>; // jobs that have not ended
  readonly #deadline: number;
  #lastContact: number;
  #hasRead = false; // over HTTP
  #openAt = 0; // when the next socket is opened; Infinity if this client has none
  #refused = 0; // how many sockets in a row could not be opened
  #quietSince = 0;
  #pingedAt = 0;

  constructor(
    jobIds: Iterable<string>,
    private readonly pace: Pace,
    private readonly now: () => number,
    timeoutSeconds = Infinity,
  ) {
    this.#open = new Map(Array.from(jobIds, (id) => [id, new Sieve(id)]));
    this.#deadline = now() + timeoutSeconds;
    this.#lastContact = now();
  }

  /**
   * Of each job each message once, in the order of (version, part); the last one is `done`.
   *
   * @throws WaitTimedOut not all jobs have ended in time.
   * @throws SubscriptionRefused the service refuses to let this client follow a job.
   * @throws ComfylineError a read failed, for good or for longer than an outage.
   */
  *script(): Script {
    for (let failures = 0; this.#open.size;) {
      const before = this.#versions();
      if (this.now() >= this.#openAt && this.#secondsLeft() > 0) yield* this.#fromSocket();
      // A socket that has worked resumes, so the jobs are read only if it has not.
      if (this.#versions() === before) yield* this.#fromReads();
      failures = this.#versions() === before ? failures + 1 : 1;
      if (this.#open.size) yield* this.#pause(failures);
    }
  }

  // --- the socket -------------------------------------------------------------------------------

  /** What one connection brings, until it is lost or all jobs have ended. */
  *#fromSocket(): Script {
    const opening = yield* open(this.#atMost(this.pace.openSeconds));
    if (opening !== "open") return this.#poll(opening);
    this.#refused = 0;
    this.#quietSince = this.#pingedAt = this.now();
    try {
      yield* this.#subscribe();
      yield* this.#listen();
    } catch (error) {
      if (!(error instanceof SocketLost)) throw error;
    }
    yield { do: "close" };
  }

  /** Leave it to the reads, and try a socket again after waits that grow. */
  #poll(opening: Opening): void {
    const seconds = backoffSeconds(this.pace.backoff, ++this.#refused);
    this.#openAt = opening === "never" ? Infinity : this.now() + seconds;
  }

  *#subscribe(): Script {
    for (const sieve of this.#open.values()) {
      sieve.subscribed();
      const after = sieve.version >= 0 ? { after: sieve.version } : {};
      yield { do: "send", message: { action: "subscribe", job_id: sieve.jobId, ...after } };
    }
  }

  *#listen(): Script {
    while (this.#open.size && this.#secondsLeft() > 0) {
      const patience = this.#quietSince + this.#silence() - this.now();
      if (patience > 0) {
        yield* this.#hear(patience);
        continue;
      }
      this.#quietSince = this.now();
      const before = this.#versions();
      yield* this.#fromReads();
      if (this.#versions() !== before) return; // the socket should have brought this: open another
    }
  }

  *#hear(patience: number): Script {
    const untilPing = this.#pingedAt + this.pace.pingSeconds - this.now();
    if (untilPing <= 0) {
      this.#pingedAt = this.now();
      yield { do: "send", message: { action: "ping" } };
      return;
    }
    const frame = yield* receive(this.#atMost(Math.min(patience, untilPing)));
    if (frame === undefined) return;
    this.#quietSince = this.now();
    const message = jobMessage(frame);
    if (!message) return;
    this.#lastContact = this.now();
    const sieve = this.#open.get(message.job_id);
    if (sieve) yield* this.#emit(sieve, sieve.take(message));
  }

  *#emit(sieve: Sieve, messages: JobMessage[]): Script {
    if (sieve.ended) this.#open.delete(sieve.jobId);
    for (const message of messages) yield { do: "emit", message };
  }

  // --- reads over HTTP --------------------------------------------------------------------------

  /** The new messages of each job, until a read fails temporarily. */
  *#fromReads(): Script {
    this.#hasRead = true;
    for (const sieve of [...this.#open.values()]) {
      let messages: JobMessage[];
      try {
        messages = yield* this.#read(sieve);
      } catch (error) {
        const isOutage = this.now() - this.#lastContact > this.pace.outageSeconds;
        if (isOutage || !isTemporary(error)) throw error;
        return;
      }
      this.#lastContact = this.now();
      yield* this.#emit(sieve, messages);
    }
  }

  *#read(sieve: Sieve): Script<JobMessage[]> {
    const view = yield* read(sieve.jobId);
    if (!sieve.mayHaveMissed(view)) return sieve.takeView(view);
    const history = yield* changes(sieve.jobId, sieve.version);
    return sieve.takeView(
      view,
      history.filter((message) => message.version < view.version),
    );
  }

  // --- time -------------------------------------------------------------------------------------

  *#pause(failures: number): Script {
    if (this.#secondsLeft() <= 0) {
      const jobs = [...this.#open.keys()].join(", ");
      throw new WaitTimedOut(`not ended within the given time: ${jobs}; the service continues`);
    }
    const { pollSeconds, backoff } = this.pace;
    // After a lost socket the wait is random, so that clients do not come back together.
    const isPolling = this.#refused > 0;
    const seconds = isPolling ? pollSeconds : backoffSeconds(backoff, failures);
    yield { do: "pause", seconds: this.#atMost(seconds) };
  }

  #secondsLeft(): number {
    return this.#deadline - this.now();
  }

  #atMost(seconds: number): number {
    return Math.max(0, Math.min(seconds, this.#secondsLeft()));
  }

  #silence(): number {
    const anyQueued = [...this.#open.values()].some((sieve) => sieve.status === "queued");
    return silence(this.pace, anyQueued, this.#hasRead);
  }

  #versions(): string {
    return [...this.#open.values()].map((sieve) => `${sieve.jobId}:${sieve.version}`).join();
  }
}

function isTemporary(error: unknown): boolean {
  return [TransportFailed, ServiceUnavailable, RateLimited].some((Kind) => error instanceof Kind);
}

function* open(seconds: number): Script<Opening> {
  return (yield { do: "open", seconds }) as Opening;
}

function* receive(seconds: number): Script<string | undefined> {
  return (yield { do: "receive", seconds }) as string | undefined;
}

function* read(jobId: string): Script<JobView> {
  return (yield { do: "read", jobId }) as JobView;
}

/** None if the service is older than that field: the present state matters more. */
function* changes(jobId: string, after: number): Script<StatusMessage[]> {
  const history = (yield { do: "history", jobId, after }) as EventList | undefined;
  const messages = history?.messages ?? [];
  return messages.map((message) => ({ part: 0, ...message, type: "status" }));
}

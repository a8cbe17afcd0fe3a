/**
 * Passes each message of a job on once and in order, however often and from wherever it comes.
 *
 * Messages are numbered by (version, part), and a message that is not newer than the last one is
 * dropped. After a subscription a newer message may overtake the answer. So the sieve keeps all
 * messages until the answer's snapshot has arrived, and sorts them then.
 */

import { messagesOf } from "./polled.js";
import type { JobMessage, JobView, Status, StatusMessage } from "./wire.js";

/** The messages of one job. */
export class Sieve {
  /** The version of the last message passed on, where a new subscription resumes; -1 before it. */
  version = -1;
  status: Status | undefined;
  /** True after `done`. */
  ended = false;
  #part = -1;
  #state = ""; // status and attempt of the last state passed on
  #place: number | undefined; // the last place in the queue passed on
  readonly #files = new Set<string>(); // attempt and number of the files passed on
  #kept: JobMessage[] | undefined; // until the snapshot of a subscription

  constructor(readonly jobId: string) {}

  /**
   * From now on keep messages, because the subscription's answer is still to come.
   *
   * What was kept before is dropped: the service sends it again.
   */
  subscribed(): void {
    this.#kept = [];
  }

  /** What can be passed on now that the socket has brought this message. */
  take(message: JobMessage): JobMessage[] {
    if (!this.#kept) return this.#new([message]);
    this.#kept.push(message);
    if (message.type !== "status" || !message.snapshot) return [];
    const kept = this.#kept.sort((a, b) => a.version - b.version || a.part - b.part);
    this.#kept = undefined;
    return this.#new(kept);
  }

  /** What can be passed on after a read over HTTP, and the state changes before it. */
  takeView(view: JobView, missed: StatusMessage[] = []): JobMessage[] {
    const passed = this.#new([...missed, ...messagesOf(view, this.#isNewState(view))]);
    return passed.length ? passed : this.#movedUp(view);
  }

  /** Whether there may be state changes between the last message and the view. */
  mayHaveMissed(view: JobView): boolean {
    return this.#isNewState(view) && this.version >= 0 && this.version < view.version - 1;
  }

  #isNewState(view: { status: Status; attempt: number }): boolean {
    return stateOf(view) !== this.#state;
  }

  /** The status again, if the job has another place in the queue; that has no version. */
  #movedUp(view: JobView): JobMessage[] {
    const place = view.queue_position ?? undefined;
    if (this.ended || place === undefined || place === this.#place) return [];
    this.#place = place;
    return messagesOf(view, true).slice(0, 1);
  }

  #new(messages: JobMessage[]): JobMessage[] {
    return messages.filter((message) => this.#isNew(message));
  }

  #isNew(message: JobMessage): boolean {
    const { version, part } = message;
    const isNewer = version > this.version || (version === this.version && part > this.#part);
    if (this.ended || !isNewer || message.job_id !== this.jobId) return false;
    this.version = version;
    this.#part = part;
    if (message.type === "artifact") return this.#isNewFile(message);
    if (message.type === "status") {
      this.status = message.status;
      this.#state = stateOf(message);
      this.#place = message.queue_position ?? this.#place;
    }
    this.ended = message.type === "done";
    return true;
  }

  /** The service sends a file when it is stored, and again with each answer and at the end. */
  #isNewFile({ attempt, number }: { attempt: number; number: number }): boolean {
    const file = `${attempt}/${number}`;
    const isNew = !this.#files.has(file);
    this.#files.add(file);
    return isNew;
  }
}

function stateOf({ status, attempt }: { status: Status; attempt: number }): string {
  return `${status}/${attempt}`;
}

/** Does what core/following.ts decides: reads, sockets, waits. */

import type { Api } from "./api.js";
import { ApiError, Forbidden, Unauthorized, UnexpectedAnswer } from "./core/errors.js";
import { ComfylineError } from "./core/errors.js";
import { Following } from "./core/following.js";
import type { Opening, Step } from "./core/following.js";
import { SocketLost } from "./core/incoming.js";
import type { EventList, JobMessage, JobView, SocketPass } from "./core/wire.js";
import { jobPath } from "./paths.js";
import { LiveSocket } from "./socket.js";
import { now, pause } from "./timing.js";

/** How a job is followed. */
export interface FollowOptions {
  /** After so long a `WaitTimedOut` is thrown; the job continues. */
  timeoutSeconds?: number | undefined;
  /** Ends the following when it is aborted; the jobs continue. */
  signal?: AbortSignal | undefined;
}

/** The messages of several jobs over one socket at a time, until all of them have ended. */
export async function* follow(
  api: Api,
  jobIds: Iterable<string>,
  { timeoutSeconds, signal }: FollowOptions = {},
): AsyncGenerator<JobMessage, void, undefined> {
  const script = new Following(jobIds, api.settings.pace, now, timeoutSeconds).script();
  const shell = new Shell(api, signal);
  try {
    for (let turn = script.next(); !turn.done;) {
      const step = turn.value;
      if (step.do === "emit") {
        yield step.message;
        signal?.throwIfAborted();
        turn = script.next();
        continue;
      }
      const [answer, error] = await shell.outcome(step);
      turn = error === undefined ? script.next(answer) : script.throw(error);
    }
  } finally {
    shell.close();
  }
}

/** The socket and the calls of one following. */
export class Shell {
  #socket: LiveSocket | undefined;

  constructor(
    private readonly api: Api,
    private readonly signal: AbortSignal | undefined,
  ) {}

  /** The answer to the step, or the error. */
  async outcome(step: Step): Promise<[answer: unknown, error?: unknown]> {
    try {
      return [await this.#act(step)];
    } catch (error) {
      this.signal?.throwIfAborted();
      return [undefined, error];
    }
  }

  /** The answer to the step. @throws its error. */
  async do(step: Step): Promise<unknown> {
    const [answer, error] = await this.outcome(step);
    if (error !== undefined) throw error;
    return answer;
  }

  close(): void {
    this.#socket?.close();
    this.#socket = undefined;
  }

  #act(step: Step): unknown {
    const { signal } = this;
    switch (step.do) {
      case "open":
        return this.#open(step.seconds);
      case "send":
        return this.#connected().send(step.message);
      case "receive":
        return this.#connected().receive(step.seconds, signal);
      case "close":
        return this.close();
      case "read":
        return this.api.call<JobView>("GET", jobPath(step.jobId), "job_id", { signal });
      case "history":
        return this.#history(step.jobId, step.after);
      case "pause":
        return pause(step.seconds, signal);
      case "emit":
        throw new Error("unreachable: `follow` hands messages on");
    }
  }

  #connected(): LiveSocket {
    if (!this.#socket) throw new SocketLost("not open");
    return this.#socket;
  }

  async #open(seconds: number): Promise<Opening> {
    const { WebSocket, wsUrl } = this.api.settings;
    if (!WebSocket) return "never";
    const pass = await this.#pass();
    if (!pass) return "failed";
    const address = pass.url ?? wsUrl;
    if (!address) return "never";
    const url = new URL(address);
    url.searchParams.set("ticket", pass.ticket);
    this.#socket = await LiveSocket.open(() => new WebSocket(url), seconds, this.signal);
    return this.#socket ? "open" : "failed";
  }

  /** A socket pass; undefined if there is none now. @throws a refusal of the key. */
  async #pass(): Promise<(Omit<SocketPass, "url"> & { url?: string }) | undefined> {
    try {
      const { signal } = this;
      return await this.api.call<SocketPass>("POST", "/ws-tickets", "ticket", { signal });
    } catch (error) {
      if (error instanceof Unauthorized || error instanceof Forbidden) throw error;
      if (error instanceof ComfylineError) return undefined;
      throw error;
    }
  }

  /** The job's changes; undefined if the service has no history of it. */
  async #history(jobId: string, after: number): Promise<EventList | undefined> {
    const call = { query: { after }, signal: this.signal };
    try {
      return await this.api.call<EventList>("GET", `${jobPath(jobId)}/events`, "events", call);
    } catch (error) {
      if (error instanceof ApiError || error instanceof UnexpectedAnswer) return undefined;
      throw error;
    }
  }
}

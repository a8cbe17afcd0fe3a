/** A scripted HTTP service and scripted sockets, in place of `fetch` and `WebSocket`. */

import { Comfyline } from "../src/index.js";
import type { Options } from "../src/index.js";
import { writeJson } from "../src/index.js";

export const JOB = "job_01jc3m9p8qk2v5w7x9y0z1a2b3";
export const OTHER = "job_00000000000000000000000000";
export const URL_ = "https://api.test";
export const KEY = "cl_abc_secret";
export const WS_URL = "wss://live.test/live";

export interface Sent {
  method: string;
  url: URL;
  headers: Headers;
  body: unknown;
}

export interface Reply {
  status?: number;
  headers?: Record<string, string>;
  body?: unknown;
  text?: string;
  down?: boolean;
}

type Answering = (request: Sent) => Reply | Response | Promise<Reply | Response>;

/** A `fetch` that asks `answer` for each response, and the requests that it has received. */
export function service(answer: Answering): { fetch: typeof fetch; requests: Sent[] } {
  const requests: Sent[] = [];
  const answered: typeof fetch = async (input, init = {}) => {
    const { method = "GET", headers, body, signal } = init;
    const request = { method, url: new URL(String(input)), headers: new Headers(headers), body };
    requests.push(request);
    signal?.throwIfAborted();
    const reply = await answer(request);
    signal?.throwIfAborted();
    return reply instanceof Response ? reply : responseOf(reply);
  };
  return { fetch: answered, requests };
}

/** An answer that returns each of the replies in turn, and repeats the last one. */
export function inTurn<Item>(replies: Item[]): () => Item {
  const left = [...replies];
  return () => (left.length > 1 ? left.shift()! : left[0]!);
}

export function responseOf({ status = 200, headers = {}, body, text, down }: Reply): Response {
  if (down) throw new TypeError("down");
  return new Response(status === 204 ? null : (text ?? writeJson(body ?? {})), { status, headers });
}

export const SOCKET_PASS: Reply = {
  status: 201,
  body: { ticket: "pass", expires_at: "2026-01-02T03:04:05Z", url: WS_URL },
};

/** What a test does with one socket of the client. */
export interface Peer {
  url: URL;
  /** Resolves with the next message of the client; undefined once the client has closed. */
  heard(): Promise<Record<string, unknown> | undefined>;
  send(frame: object | string): void;
  drop(): void;
}

type Talk = (peer: Peer) => Promise<void> | void;

/** A `WebSocket` class whose n-th instance talks to the n-th script; `null` refuses. */
export function sockets(next: () => Talk | null): { WebSocket: typeof WebSocket; opened: URL[] } {
  const opened: URL[] = [];

  class Fake {
    readyState = 0;
    onopen: (() => void) | null = null;
    onmessage: ((event: { data: unknown }) => void) | null = null;
    onclose: (() => void) | null = null;
    onerror: (() => void) | null = null;
    readonly #said: (Record<string, unknown> | undefined)[] = [];
    #wake: () => void = () => {};

    constructor(url: string | URL) {
      const talk = next();
      setImmediate(() => {
        if (this.readyState === 3) return;
        if (!talk) return this.#end();
        this.readyState = 1;
        opened.push(new URL(url));
        this.onopen?.();
        void talk({
          url: new URL(url),
          heard: () => this.#heard(),
          send: (frame) => {
            const data = typeof frame === "string" ? frame : writeJson(frame);
            if (this.readyState === 1) this.onmessage?.({ data });
          },
          drop: () => this.#end(),
        });
      });
    }

    send(text: string): void {
      this.#said.push(JSON.parse(text) as Record<string, unknown>);
      this.#wake();
    }

    close(): void {
      this.#end();
      this.#said.push(undefined);
      this.#wake();
    }

    async #heard(): Promise<Record<string, unknown> | undefined> {
      if (!this.#said.length) await new Promise<void>((resolve) => (this.#wake = resolve));
      return this.#said.shift();
    }

    #end(): void {
      if (this.readyState === 3) return;
      this.readyState = 3;
      this.onerror?.();
      this.onclose?.();
    }
  }

  return { WebSocket: Fake as unknown as typeof WebSocket, opened };
}

const QUICK = { baseSeconds: 0.001, capSeconds: 0.002 };

/** A client of the fakes that hardly waits. */
export function clientOf(options: Options): Comfyline {
  return new Comfyline({
    url: URL_,
    apiKey: KEY,
    ...options,
    retries: { tries: 1, backoff: QUICK, ...options.retries },
    pace: { pollSeconds: 0.001, backoff: QUICK, ...options.pace },
  });
}

/** Everything that the iterator yields. */
export async function all<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const found: Item[] = [];
  for await (const item of items) found.push(item);
  return found;
}

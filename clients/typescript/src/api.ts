/**
 * One call of the HTTP API: sent as often as needed, and its response checked.
 *
 * Every call may be repeated. GET and DELETE may by their nature; a POST carries an Idempotency-Key,
 * which is made once for each submission and sent with each try.
 */

import { TransportFailed, UnexpectedAnswer, apiError } from "./core/errors.js";
import { isObject, parseJson, writeJson } from "./core/json.js";
import { waitAfterAnswer, waitAfterNoAnswer } from "./core/retries.js";
import type { Answer } from "./core/retries.js";
import type { Settings } from "./settings.js";
import { pause, within } from "./timing.js";

/** What a call sends, and what ends it early. */
export interface Call {
  query?: Record<string, string | number | undefined>;
  headers?: Record<string, string>;
  body?: unknown;
  signal?: AbortSignal | undefined;
}

/** The HTTP API of one service. */
export class Api {
  constructor(readonly settings: Settings) {}

  /**
   * The response's body, which must have the field `has`.
   *
   * @throws ApiError the service refused the call.
   * @throws TransportFailed no response came.
   * @throws UnexpectedAnswer the body is not one of the service's.
   */
  async call<Body extends object>(
    method: string,
    path: string,
    has: keyof Body & string,
    call: Call = {},
  ): Promise<Body> {
    const url = this.settings.base + path + queryOf(call.query);
    const headers: Record<string, string> = { Accept: "application/json", ...call.headers };
    const request: RequestInit = { method, headers };
    if (call.body !== undefined) {
      headers["Content-Type"] = "application/json";
      request.body = writeJson(call.body);
    }
    const answer = await this.#send(url, request, call.signal);
    if (answer.status < 200 || answer.status > 299) throw apiError(answer);
    return checked(answer, has, `${method} ${url}`);
  }

  /** The last response: a final one, or the one after which the client gives up. */
  async #send(url: string, request: RequestInit, signal?: AbortSignal): Promise<Answer> {
    const { retries } = this.settings;
    for (let failures = 1; ; failures++) {
      let wait: number | undefined;
      try {
        const answer = await this.#try(url, request, signal);
        wait = waitAfterAnswer(retries, answer, failures);
        if (wait === undefined) return answer;
      } catch (cause) {
        signal?.throwIfAborted();
        wait = waitAfterNoAnswer(retries, failures);
        if (wait === undefined) throw transportFailed(url, request, cause);
      }
      await pause(wait, signal);
    }
  }

  async #try(url: string, request: RequestInit, signal?: AbortSignal): Promise<Answer> {
    const { apiKey, timeoutSeconds, fetch } = this.settings;
    const key = typeof apiKey === "function" ? await apiKey() : apiKey;
    const authorization = key === null ? {} : { Authorization: `Bearer ${key}` };
    const headers = { ...(request.headers as Record<string, string>), ...authorization };
    return within(timeoutSeconds, signal, async (limit) => {
      const response = await fetch(url, { ...request, headers, signal: limit });
      const text = await response.text();
      return { status: response.status, header: (name) => response.headers.get(name), text };
    });
  }
}

function queryOf(query: Call["query"] = {}): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined);
  return given.length
    ? `?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}`
    : "";
}

function checked<Body extends object>(
  answer: Answer,
  has: keyof Body & string,
  what: string,
): Body {
  try {
    const body = parseJson(answer.text);
    if (isObject(body) && has in body) return body as Body;
  } catch {
    // No JSON: the message below says what to check.
  }
  throw new UnexpectedAnswer(
    `${what} answered ${answer.status}, but the body is not a response of Comfyline; check the URL`,
  );
}

function transportFailed(url: string, request: RequestInit, cause: unknown): TransportFailed {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new TransportFailed(`${request.method} ${url.split("?")[0]}: ${why}`, { cause });
}

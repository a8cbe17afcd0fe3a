/**
 * Signing in. The browser keeps the session's cookie, which no script can read; the page keeps a bearer
 * of some minutes in memory, and asks for another one in time.
 *
 * A mark in the browser's storage says that there is a session, and until when. It holds no secret. With
 * it, a reload and another tab know that the cookie is worth asking, and all tabs sign out together.
 */

import { TransportFailed } from "@comfyline/client";
import type { Caller } from "@comfyline/client";
import { ROOT } from "./address.js";

interface Renewal {
  token: string;
  caller: Caller;
  /** In seconds. The clocks of browser and service may differ, so no time of the service is used. */
  expires_in: number;
  session_expires_at: string;
}

/** The service does not accept a key, a link or the cookie. */
export class SignInRefused extends Error {
  constructor(
    readonly status: number,
    detail: string,
  ) {
    super(detail);
  }
}

/** The browser has not kept the cookie of a new session. */
export class CookieLost extends Error {}

// A request that is sent with a bearer must arrive before the bearer's end.
const EARLY_MS = 60_000;
const MARK = `comfyline.session ${ROOT}`;

/** Exchange an API key or the code of a link for a session, whose cookie the browser keeps. */
export async function signIn(secret: string): Promise<void> {
  await ask("POST", "", { Authorization: `Bearer ${secret}` });
}

/** End the session of the cookie, for all tabs; or all sessions of its key, on all devices. */
export async function signOut(isEverywhere = false): Promise<void> {
  await ask("DELETE", isEverywhere ? "?everywhere=true" : "");
  mark(undefined);
}

/** The bearer of a session, as the client of the API asks for it. */
export class Bearer {
  #token = "";
  #renewAtMs = 0;
  #renewing: Promise<Caller> | undefined;

  /** @param ended is called once the session has ended. */
  constructor(private readonly ended: () => void) {}

  /** The bearer; it is renewed when it is about to end. */
  readonly text = async (): Promise<string> => {
    if (Date.now() >= this.#renewAtMs) await this.renew();
    return this.#token;
  };

  /** Get a new bearer. Requests that need one at the same time share one renewal. */
  renew(): Promise<Caller> {
    this.#renewing ??= this.#renew().finally(() => (this.#renewing = undefined));
    return this.#renewing;
  }

  async #renew(): Promise<Caller> {
    const askedAtMs = Date.now();
    try {
      const answer = await ask("POST", "/token");
      const { token, caller, expires_in, session_expires_at } = (await answer.json()) as Renewal;
      this.#token = token;
      this.#renewAtMs = askedAtMs + expires_in * 1000 - EARLY_MS;
      mark(session_expires_at);
      return caller;
    } catch (error) {
      if (error instanceof SignInRefused && error.status === 401) this.ended();
      throw error;
    }
  }
}

/** When the session ends that this browser has, by its mark; undefined if it has none. */
export function marked(): Date | undefined {
  try {
    const text = localStorage.getItem(MARK);
    return text ? new Date(text) : undefined;
  } catch {
    return undefined; // storage is switched off: a reload signs out
  }
}

/** Set or remove the mark. The other tabs are told if it changes. */
export function mark(endsAt: string | undefined): void {
  try {
    if (endsAt === undefined) localStorage.removeItem(MARK);
    else if (localStorage.getItem(MARK) !== endsAt) localStorage.setItem(MARK, endsAt);
  } catch {
    // See `marked`.
  }
}

/** Calls back when another tab has signed in or out. */
export function onMark(changed: () => void): () => void {
  const listen = ({ key }: StorageEvent) => {
    if (key === MARK || key === null) changed();
  };
  window.addEventListener("storage", listen);
  return () => window.removeEventListener("storage", listen);
}

/** @throws SignInRefused, TransportFailed. */
async function ask(
  method: string,
  path: string,
  headers: Record<string, string> = {},
): Promise<Response> {
  const url = `${ROOT}/api/v1/sessions${path}`;
  let answer: Response;
  try {
    answer = await fetch(url, { method, headers, credentials: "same-origin", cache: "no-store" });
  } catch (cause) {
    throw new TransportFailed(`${method} ${url}: no answer`, { cause });
  }
  if (answer.ok) return answer;
  const detail = await answer.json().then(
    (problem) => (problem as { detail?: string }).detail,
    () => undefined,
  );
  throw new SignInRefused(answer.status, detail ?? `HTTP ${answer.status}`);
}

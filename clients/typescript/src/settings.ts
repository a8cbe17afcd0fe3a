/** Where the service is, with which key, and how patiently it is called. */

import { NotConfigured } from "./core/errors.js";
import { PACE } from "./core/pace.js";
import type { Pace } from "./core/pace.js";
import { RETRIES } from "./core/retries.js";
import type { Retries } from "./core/retries.js";

/** An API key, or a function that returns the current one, such as a short-lived token. */
export type ApiKey = string | (() => string | Promise<string>);

/** What a client is made from. What is left out is read from environment variables, if there are any. */
export interface Options {
  /** The service's URL; by default the environment variable COMFYLINE_URL. */
  url?: string | undefined;
  /**
   * By default the environment variable COMFYLINE_API_KEY. A key must not be part of a web page: give
   * a function that fetches a short-lived token, or null if your own server adds the header.
   */
  apiKey?: ApiKey | null | undefined;
  /**
   * The WebSocket's URL, for services that do not tell it with a socket pass; by default the
   * environment variable COMFYLINE_WS_URL. Without both, the client polls.
   */
  wsUrl?: string | undefined;
  /** Seconds for one try of one call; a call may have several tries. */
  timeoutSeconds?: number | undefined;
  retries?: Partial<Retries> | undefined;
  pace?: Partial<Pace> | undefined;
  /** Used in place of the global `fetch`. */
  fetch?: typeof fetch | undefined;
  /** Used in place of the global `WebSocket`, which Node has from version 22 on. */
  WebSocket?: typeof WebSocket | undefined;
}

/** The options, checked and complete. */
export interface Settings {
  base: string;
  apiKey: ApiKey | null;
  wsUrl: string | undefined;
  timeoutSeconds: number;
  retries: Retries;
  pace: Pace;
  fetch: typeof fetch;
  WebSocket: typeof WebSocket | undefined;
}

const API_PREFIX = "/api/v1";

/** @throws NotConfigured the URL or the key is missing or unusable. */
export function settings(options: Options): Settings {
  const wsUrl = options.wsUrl ?? environment("COMFYLINE_WS_URL");
  return {
    base: base(options.url ?? environment("COMFYLINE_URL")),
    apiKey:
      options.apiKey === undefined ? key(environment("COMFYLINE_API_KEY")) : key(options.apiKey),
    wsUrl: wsUrl ? checkedUrl("wsUrl", wsUrl.trim(), "ws:", "wss:") : undefined,
    timeoutSeconds: options.timeoutSeconds ?? 30,
    retries: { ...RETRIES, ...options.retries },
    pace: { ...PACE, ...options.pace },
    // A bare `fetch` that is called as a method loses its `this`, which browsers refuse.
    fetch: options.fetch ?? ((...call) => fetch(...call)),
    WebSocket: options.WebSocket ?? globalThis.WebSocket,
  };
}

function base(url: string | undefined): string {
  if (!url?.trim()) {
    throw new NotConfigured(
      "url is not set: set it, or COMFYLINE_URL, to the service's https:// URL",
    );
  }
  const root = checkedUrl("url", url.trim().replace(/\/+$/, ""), "http:", "https:");
  // Users also paste the whole URL of the API.
  return (root.endsWith(API_PREFIX) ? root.slice(0, -API_PREFIX.length) : root) + API_PREFIX;
}

function key(value: ApiKey | null | undefined): ApiKey | null {
  if (typeof value === "function" || value === null) return value;
  const text = value?.trim(); // a key that is read from a file ends with a newline
  if (!text)
    throw new NotConfigured("apiKey is not set: set it, or COMFYLINE_API_KEY, to your key");
  if (!/^[\x20-\x7e]+$/.test(text)) {
    throw new NotConfigured("apiKey holds characters that no API key has: copy the key again");
  }
  return text;
}

function checkedUrl(option: string, value: string, plain: string, secure: string): string {
  let url: URL;
  try {
    url = new URL(value, globalThis.location?.href); // in a page, "/proxy" is a URL
  } catch (cause) {
    throw new NotConfigured(`${option} is not a URL: ${value}`, { cause });
  }
  if (url.protocol !== plain && url.protocol !== secure) {
    throw new NotConfigured(`${option} must begin with ${secure}//, but it is ${value}`);
  }
  if (url.protocol === plain && !isThisMachine(url.hostname)) {
    const what = `the API key is sent to ${url.hostname} without encryption`;
    console.warn(`Comfyline: ${option} begins with ${plain}//, so ${what}. Use ${secure}//.`);
  }
  return value;
}

/** Whether requests to the host never leave this machine. */
function isThisMachine(host: string): boolean {
  return /^(localhost|.*\.localhost|127(\.\d+){3}|\[::1\])$/.test(host);
}

function environment(name: string): string | undefined {
  const { process } = globalThis as { process?: { env?: Record<string, string | undefined> } };
  return process?.env?.[name];
}

/** The page and its parameters are in the URL's fragment, which no server sees. */

import { useSyncExternalStore } from "react";

export interface Place {
  /** The name of a page of pages.ts. */
  page: string;
  /** What follows the page, such as the id of a job; decoded. */
  rest: string;
  query: URLSearchParams;
}

export function placeOf(hash: string): Place {
  const [path = "", query = ""] = hash.replace(/^#?\/?/, "").split("?");
  const [page = "", rest = ""] = path.split("/");
  return { page, rest: decoded(rest), query: new URLSearchParams(query) };
}

/** A link may be cut or written by hand, so an escape in it may be wrong. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export function usePlace(): Place {
  const hash = useSyncExternalStore(subscribe, () => location.hash);
  return placeOf(hash);
}

export const jobLink = (jobId: string) => `#/jobs/${encodeURIComponent(jobId)}`;

export function go(hash: string): void {
  location.hash = hash;
}

/**
 * The code of a link that signs in, if the address has one. It is removed from the address and the
 * browser's history, because it is a secret until it is used.
 */
export function takeCode(): string | undefined {
  const { page, query } = placeOf(location.hash);
  if (page !== "sign-in") return undefined;
  history.replaceState(null, "", "#/");
  return query.get("code") ?? undefined;
}

function subscribe(changed: () => void): () => void {
  window.addEventListener("hashchange", changed);
  return () => window.removeEventListener("hashchange", changed);
}

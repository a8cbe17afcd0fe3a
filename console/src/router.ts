/** The page and its parameters are in the URL's fragment, which no server sees. */

import { useSyncExternalStore } from "react";

export interface Place {
  /** "" (the gallery), "jobs", "new" or "usage". */
  page: string;
  /** What follows the page, such as the id of a job. */
  rest: string;
  query: URLSearchParams;
}

export function placeOf(hash: string): Place {
  const [path = "", query = ""] = hash.replace(/^#?\/?/, "").split("?");
  const [page = "", rest = ""] = path.split("/");
  return { page, rest, query: new URLSearchParams(query) };
}

export function usePlace(): Place {
  const hash = useSyncExternalStore(subscribe, () => location.hash);
  return placeOf(hash);
}

export const jobLink = (jobId: string) => `#/jobs/${encodeURIComponent(jobId)}`;

export function go(hash: string): void {
  location.hash = hash;
}

function subscribe(changed: () => void): () => void {
  window.addEventListener("hashchange", changed);
  return () => window.removeEventListener("hashchange", changed);
}

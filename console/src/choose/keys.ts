/** The keys of a list of cards: arrows move, with Shift they choose, and so do space and Ctrl+A. */

import type { JobView } from "@comfyline/client";
import type { KeyboardEvent } from "react";
import type { Selection } from "./selection.js";

interface Shown {
  jobs: JobView[];
  selection: Selection;
  /** How many cards are in a row. */
  columns: number;
}

export function pressed(event: KeyboardEvent<HTMLElement>, shown: Shown): void {
  const element = event.target as HTMLElement;
  const at = Number(element.closest("li")?.getAttribute("aria-posinset")) - 1;
  if (!(at >= 0) || event.altKey) return;
  if (takes(event, at, element, shown)) event.preventDefault();
}

/** Whether the key had a meaning. */
function takes(
  { key, shiftKey, ctrlKey, metaKey, currentTarget }: KeyboardEvent<HTMLElement>,
  at: number,
  element: HTMLElement,
  { jobs, selection, columns }: Shown,
): boolean {
  if (ctrlKey || metaKey) {
    if (key.toLowerCase() === "a") selection.all();
    return key.toLowerCase() === "a";
  }
  const id = (place: number) => jobs[place]!.job_id;
  if (key === "Escape") selection.none();
  else if (key === " " && element.matches("a"))
    shiftKey ? selection.extend(id(at)) : selection.toggle(id(at));
  else {
    const steps: Record<string, number> = {
      ArrowLeft: -1,
      ArrowRight: 1,
      ArrowUp: -columns,
      ArrowDown: columns,
    };
    const next = at + (steps[key] ?? NaN);
    if (!jobs[next]) return key in steps;
    // The rows next to those in the window are on the page too.
    const kind = element.matches("a") ? "a" : "input";
    currentTarget.querySelector<HTMLElement>(`[aria-posinset="${next + 1}"] ${kind}`)?.focus();
    if (shiftKey) selection.extend(id(next), id(at));
  }
  return key !== "Escape";
}

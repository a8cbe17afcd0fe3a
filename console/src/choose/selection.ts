/** Which jobs of a list are chosen, so that something is done with all of them. */

import type { JobView } from "@comfyline/client";
import { useEffect, useMemo, useState } from "react";

interface Chosen {
  ids: ReadonlySet<string>;
  /** Where a range begins: the job that was chosen last by itself. */
  anchor?: string;
  /** What was chosen before the range, so that a range that is drawn again can become smaller. */
  before: ReadonlySet<string>;
}

const NONE: Chosen = { ids: new Set(), before: new Set() };

export interface Selection {
  /** The chosen jobs in the list's order, as the list shows them now. */
  jobs: JobView[];
  has: (jobId: string) => boolean;
  /** Choose the job, or choose it no more. */
  toggle: (jobId: string) => void;
  /** Choose all jobs from the one that was chosen last to this one. */
  extend: (jobId: string, from?: string) => void;
  all: () => void;
  none: () => void;
}

/** A job that leaves the list is chosen no more. Another list (`of`) begins without chosen jobs. */
export function useSelection(list: JobView[], of: string): Selection {
  const [chosen, setChosen] = useState(NONE);
  useEffect(() => setChosen(NONE), [of]);
  return useMemo(
    () => ({
      jobs: chosen.ids.size ? list.filter(({ job_id }) => chosen.ids.has(job_id)) : [],
      has: (jobId) => chosen.ids.has(jobId),
      toggle: (jobId) => setChosen((now) => toggled(now, jobId)),
      extend: (jobId, from) => setChosen((now) => extended(now, list, jobId, from)),
      all: () => setChosen((now) => ({ ...now, ids: new Set(list.map(({ job_id }) => job_id)) })),
      none: () => setChosen(NONE),
    }),
    [chosen, list],
  );
}

function toggled({ ids }: Chosen, jobId: string): Chosen {
  const next = new Set(ids);
  if (!next.delete(jobId)) next.add(jobId);
  return { ids: next, anchor: jobId, before: next };
}

function extended(now: Chosen, list: JobView[], jobId: string, from = jobId): Chosen {
  const at = (id: string | undefined) => list.findIndex(({ job_id }) => job_id === id);
  const known = at(now.anchor) >= 0;
  const anchor = known ? now.anchor! : from;
  const before = known ? now.before : now.ids;
  const ends = [at(anchor), at(jobId)].toSorted((a, b) => a - b) as [number, number];
  const range = list.slice(ends[0], ends[1] + 1).map(({ job_id }) => job_id);
  return { ids: new Set([...before, ...range]), anchor, before };
}

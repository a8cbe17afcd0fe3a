/** The times that a client waits while it follows jobs. */

import type { Backoff } from "./retries.js";

/** The times of following jobs, all in seconds. */
export interface Pace {
  /** After so long without a message the client reads the jobs: the socket may be dead. */
  silenceSeconds: number;
  /** The same while a job waits, because a job's place in the queue is not pushed. */
  queueSeconds: number;
  /** The same for the first read, by when an idle worker would have taken the job. */
  placeSeconds: number;
  /** How often the client pings. API Gateway closes a socket that is idle for 10 minutes. */
  pingSeconds: number;
  /** The wait between two reads of a job while no socket can be had. */
  pollSeconds: number;
  /** Reads may fail for so long before their error is thrown, such as while a laptop sleeps. */
  outageSeconds: number;
  /** How long opening a socket may take. */
  openSeconds: number;
  /** The waits before a lost socket is opened again. */
  backoff: Backoff;
}

export const PACE: Pace = {
  silenceSeconds: 30,
  queueSeconds: 10,
  placeSeconds: 3,
  pingSeconds: 8 * 60,
  pollSeconds: 2,
  outageSeconds: 5 * 60,
  openSeconds: 10,
  backoff: { baseSeconds: 0.5, capSeconds: 60 },
};

/** How long the socket may be silent now, before the jobs are read over HTTP. */
export function silence(pace: Pace, anyQueued: boolean, hasRead: boolean): number {
  if (!anyQueued) return pace.silenceSeconds;
  const first = hasRead ? pace.queueSeconds : pace.placeSeconds;
  return Math.min(first, pace.queueSeconds, pace.silenceSeconds);
}

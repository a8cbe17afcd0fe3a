/** Lets the client's pauses end at once, and tells how long they would have been. */

const LIMIT_SECONDS = 30; // the client's limit for one try, which is no pause

/** The seconds of each pause that the client makes during the work. Call it for one work at a time. */
export async function waitsOf(work: () => Promise<void>): Promise<number[]> {
  const waits: number[] = [];
  const real = globalThis.setTimeout;
  const quick = (done: () => void, ms: number) => {
    if (ms === LIMIT_SECONDS * 1000) return real(done, ms);
    waits.push(ms / 1000);
    return real(done, 0);
  };
  globalThis.setTimeout = quick as unknown as typeof setTimeout;
  try {
    await work();
  } finally {
    globalThis.setTimeout = real;
  }
  return waits;
}

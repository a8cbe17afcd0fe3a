/** Waiting, and signals that end it. */

const LONGEST_TIMER_SECONDS = 2 ** 31 / 1000 - 1; // a longer timer of JavaScript ends at once

/** A steady clock in seconds: it does not jump when the time of day is corrected. */
export function now(): number {
  return performance.now() / 1000;
}

/** Resolve after so many seconds. @throws the signal's reason, as soon as it is aborted. */
export function pause(seconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const stop = () => {
      clearTimeout(timer);
      reject(signal!.reason);
    };
    const timer = setTimeout(
      () => {
        signal?.removeEventListener("abort", stop);
        resolve();
      },
      Math.min(seconds, LONGEST_TIMER_SECONDS) * 1000,
    );
    signal?.addEventListener("abort", stop, { once: true });
  });
}

/**
 * Do the work with a signal that aborts after so many seconds, or when `signal` does.
 *
 * AbortSignal.any would leave a listener on a long-lived signal in some runtimes.
 */
export async function within<Result>(
  seconds: number,
  signal: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  signal?.throwIfAborted();
  const limit = new AbortController();
  const stop = () => limit.abort(signal!.reason);
  const timer = setTimeout(
    () => limit.abort(new DOMException(`no response within ${seconds} s`, "TimeoutError")),
    Math.min(seconds, LONGEST_TIMER_SECONDS) * 1000,
  );
  signal?.addEventListener("abort", stop, { once: true });
  try {
    return await work(limit.signal);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", stop);
  }
}

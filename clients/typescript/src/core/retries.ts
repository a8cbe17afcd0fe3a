/** How often a failed call is repeated, and how long the client waits before it tries again. */

/** Exponential backoff with full jitter, so that clients that failed together retry apart. */
export interface Backoff {
  baseSeconds: number;
  capSeconds: number;
}

/** When the client repeats a call by itself, and when it throws the error instead. */
export interface Retries {
  /** How often one call is sent at most. */
  tries: number;
  backoff: Backoff;
  /** A longer `Retry-After` is not waited for. The client throws, so that the caller can decide. */
  longestWaitSeconds: number;
}

export const RETRIES: Retries = {
  tries: 5,
  backoff: { baseSeconds: 0.5, capSeconds: 8 },
  longestWaitSeconds: 60,
};

const RETRIED_STATUS = [429, 502, 503, 504];
const PROBLEM = "application/problem+json";

/** A response as the core sees it: `header` returns the value of a header or null. */
export interface Answer {
  status: number;
  header: (name: string) => string | null;
  text: string;
}

/** A random wait after that many failures in a row (at least 1). */
export function backoffSeconds(backoff: Backoff, failures: number): number {
  const longest = Math.min(backoff.capSeconds, backoff.baseSeconds * 2 ** (failures - 1));
  return Math.random() * longest;
}

/** Seconds to wait before the next try; undefined if this answer is the final one. */
export function waitAfterAnswer(
  retries: Retries,
  answer: Answer,
  failures: number,
): number | undefined {
  const requested = retryAfterSeconds(answer.header("retry-after")) ?? 0;
  if (!isTemporary(answer) || requested > retries.longestWaitSeconds) return undefined;
  // The random part is added because the service gives all throttled clients the same number.
  const wait = waitAfterNoAnswer(retries, failures);
  return wait === undefined ? undefined : requested + wait;
}

/** Seconds to wait before the next try; undefined if there have been enough tries. */
export function waitAfterNoAnswer(retries: Retries, failures: number): number | undefined {
  return failures >= retries.tries ? undefined : backoffSeconds(retries.backoff, failures);
}

/** The value of a `Retry-After` header in seconds. A date in the past gives 0. */
export function retryAfterSeconds(value: string | null, nowMs = Date.now()): number | undefined {
  const text = value?.trim() ?? "";
  if (/^\d+$/.test(text)) return Number(text);
  const when = Date.parse(text);
  return Number.isNaN(when) ? undefined : Math.max(0, (when - nowMs) / 1000);
}

/**
 * Whether another try may succeed.
 *
 * API Gateway answers 500 if Lambda refuses to start the authorizer, which happens in a burst. Its
 * answer is told from the service's own 500, which is a problem document.
 */
function isTemporary({ status, header }: Answer): boolean {
  const isProblem = header("content-type")?.startsWith(PROBLEM);
  return RETRIED_STATUS.includes(status) || (status === 500 && !isProblem);
}

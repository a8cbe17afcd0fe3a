/**
 * All errors of the client, and what to do about them.
 *
 *     ComfylineError
 *     ├── NotConfigured              a setting is missing or unusable: set it
 *     ├── ApiError                   the service answered, and refused the call
 *     │   ├── InvalidRequest         400, 413, 422  change the request; the message names the fields
 *     │   ├── Unauthorized           401            no API key, or a wrong, expired or disabled one
 *     │   ├── Forbidden              403            the key lacks a scope
 *     │   ├── NotFound               404            unknown, past its retention, or another owner's
 *     │   ├── Conflict               409            the job's state does not allow the call
 *     │   ├── RateLimited            429            too many calls or active jobs, after all retries
 *     │   └── ServiceUnavailable     502, 503, 504  not available, even after all retries
 *     ├── SubscriptionRefused        the live socket refused to follow the job
 *     ├── TransportFailed            no response came, after all retries
 *     ├── UnexpectedAnswer           a response came, but not from Comfyline: check the URL
 *     ├── WaitTimedOut               the job has not ended yet and continues
 *     ├── JobNotSucceeded            `run` only: the job ended without success; `job` is that job
 *     │   ├── JobFailed
 *     │   ├── JobCanceled
 *     │   └── JobExpired             no worker started it before its start deadline
 *     ├── UploadFailed               the file store refused an input file
 *     └── DownloadFailed             a file did not arrive as promised
 *
 * A call that is aborted by its signal throws the signal's reason, as `fetch` does.
 */

import { isObject, parseJson } from "./json.js";
import { retryAfterSeconds } from "./retries.js";
import type { Answer } from "./retries.js";
import type { JobView, Problem } from "./wire.js";

/** Base of all errors of the client. */
export class ComfylineError extends Error {
  override readonly name: string = "ComfylineError"; // a bundler may rename the class
}

/** A setting is missing or unusable; the message names it and says what to do. */
export class NotConfigured extends ComfylineError {
  override readonly name = "NotConfigured";
}

/** What an `ApiError` knows beside its message. */
export interface Refusal {
  status: number;
  problem?: Problem | undefined;
  requestId?: string | undefined;
  retryAfterSeconds?: number | undefined;
}

/**
 * The service, or the gateway in front of it, refused the call.
 *
 * `problem` is the service's problem document. It is undefined if the gateway answered, which sends
 * some 401, 403, 413, 429 and 503 by itself. `code` is the stable name of the kind of problem.
 */
export class ApiError extends ComfylineError {
  override readonly name: string = "ApiError";
  readonly status: number;
  readonly problem: Problem | undefined;
  readonly code: string | undefined;
  readonly requestId: string | undefined;
  readonly retryAfterSeconds: number | undefined;

  constructor(message: string, refusal: Refusal) {
    super(message);
    this.status = refusal.status;
    this.problem = refusal.problem;
    this.code = refusal.problem?.code;
    this.requestId = refusal.requestId;
    this.retryAfterSeconds = refusal.retryAfterSeconds;
  }
}

/** The request is wrong; the message and `problem.errors` name the fields. */
export class InvalidRequest extends ApiError {
  override readonly name = "InvalidRequest";
}

/** The request had no API key, or a wrong, expired or disabled one. */
export class Unauthorized extends ApiError {
  override readonly name = "Unauthorized";
}

/** The API key lacks a scope. */
export class Forbidden extends ApiError {
  override readonly name = "Forbidden";
}

/** This key has no such job: unknown, past its retention, or another owner's. */
export class NotFound extends ApiError {
  override readonly name = "NotFound";
}

/** The job's state does not allow the call. */
export class Conflict extends ApiError {
  override readonly name = "Conflict";
}

/** The key has made too many calls, or has too many active jobs. */
export class RateLimited extends ApiError {
  override readonly name = "RateLimited";
}

/** The service is temporarily unavailable. */
export class ServiceUnavailable extends ApiError {
  override readonly name = "ServiceUnavailable";
}

/** The live socket refused to follow the job; decide by `code`. */
export class SubscriptionRefused extends ComfylineError {
  override readonly name = "SubscriptionRefused";
  readonly code: string;

  constructor(code: string, message: string) {
    super(`${message} (${code})`);
    this.code = code;
  }
}

/** No response came: no connection, a broken one, a timeout, or the browser's CORS rules. */
export class TransportFailed extends ComfylineError {
  override readonly name = "TransportFailed";
}

/** A successful response with a foreign body, such as a proxy's page: the URL may be wrong. */
export class UnexpectedAnswer extends ComfylineError {
  override readonly name = "UnexpectedAnswer";
}

/** The job has not ended within the given time; it continues. */
export class WaitTimedOut extends ComfylineError {
  override readonly name = "WaitTimedOut";
}

/** The job has ended without success; `job` is the ended job. */
export class JobNotSucceeded extends ComfylineError {
  override readonly name: string = "JobNotSucceeded";
  readonly job: JobView;

  constructor(job: JobView) {
    const how = job.status === "canceled" ? "was canceled" : job.status;
    const why = job.error ? `: ${job.error.message} (${job.error.type})` : "";
    super(`job ${job.job_id} ${how}${why}`);
    this.job = job;
  }
}

/** The job failed by itself, or too many attempts failed; `job.error` says why. */
export class JobFailed extends JobNotSucceeded {
  override readonly name = "JobFailed";
}

/** The job was canceled. */
export class JobCanceled extends JobNotSucceeded {
  override readonly name = "JobCanceled";
}

/** No worker started the job before its start deadline. */
export class JobExpired extends JobNotSucceeded {
  override readonly name = "JobExpired";
}

/** The file store refused an input file. */
export class UploadFailed extends ComfylineError {
  override readonly name = "UploadFailed";
}

/** A file could not be fetched, or its content is not what the job promises. */
export class DownloadFailed extends ComfylineError {
  override readonly name = "DownloadFailed";
}

const BY_STATUS: Record<number, typeof ApiError> = {
  400: InvalidRequest,
  401: Unauthorized,
  403: Forbidden,
  404: NotFound,
  409: Conflict,
  413: InvalidRequest,
  422: InvalidRequest,
  429: RateLimited,
  502: ServiceUnavailable,
  503: ServiceUnavailable,
  504: ServiceUnavailable,
};

/** The error for a response from the service or the gateway. */
export function apiError(answer: Answer): ApiError {
  const body = jsonOrUndefined(answer.text);
  const problem = isProblem(body) ? body : undefined;
  const Kind = BY_STATUS[answer.status] ?? ApiError;
  // API Gateway's HTTP APIs add their own id.
  const given = answer.header("x-request-id") ?? answer.header("apigw-requestid") ?? undefined;
  return new Kind(problem ? problemMessage(problem) : gatewayMessage(answer.status, body), {
    status: answer.status,
    problem,
    requestId: problem?.request_id ?? given,
    retryAfterSeconds: retryAfterSeconds(answer.header("retry-after")),
  });
}

/** The error for a job that ended without success; undefined for one that succeeded. */
export function endingError(job: JobView): JobNotSucceeded | undefined {
  if (job.status === "succeeded") return undefined;
  if (job.status === "failed") return new JobFailed(job);
  if (job.status === "canceled") return new JobCanceled(job);
  return job.status === "expired" ? new JobExpired(job) : new JobNotSucceeded(job);
}

function problemMessage({ title, detail, errors }: Problem): string {
  // If there is one wrong field, the service also gives its message as the detail.
  const fields = (errors ?? []).map(({ loc, msg }) =>
    msg === detail ? `(${loc.join(".")})` : `${loc.join(".")}: ${msg}`,
  );
  return `${title}: ${detail} ${fields.join("; ")}`.trim();
}

function gatewayMessage(status: number, body: unknown): string {
  const text = isObject(body) && body["message"];
  return `HTTP ${status}: ${typeof text === "string" && text ? text : "refused"}`;
}

function isProblem(body: unknown): body is Problem {
  const texts = ["type", "title", "detail", "code"];
  return isObject(body) && texts.every((name) => typeof body[name] === "string");
}

function jsonOrUndefined(text: string): unknown {
  try {
    return parseJson(text);
  } catch {
    return undefined;
  }
}

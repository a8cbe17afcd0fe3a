/** `Comfyline` speaks to a service. */

import { Admin } from "./admin.js";
import { AllJobs } from "./all.js";
import { Api } from "./api.js";
import { endingError } from "./core/errors.js";
import { JsonText, randomName } from "./core/json.js";
import type {
  ArtifactLink,
  ArtifactPage,
  Caller,
  CancelAnswer,
  EventList,
  GraphView,
  JobAccepted,
  JobMessage,
  JobPage,
  JobView,
  KeyList,
  KeyView,
  Models,
  NewKey,
  NewKeyRequest,
  Status,
  SubmitRequest,
  Token,
  TokenRequest,
  UsageView,
} from "./core/wire.js";
import { follow } from "./follow.js";
import type { FollowOptions } from "./follow.js";
import { Job } from "./job.js";
import { jobPath, keyPath } from "./paths.js";
import { settings } from "./settings.js";
import type { Options } from "./settings.js";
import { upload } from "./uploads.js";
import type { UploadOptions } from "./uploads.js";

/** What every call takes. */
export interface CallOptions {
  /** Ends the call when it is aborted. The service may have received it already. */
  signal?: AbortSignal | undefined;
}

/** Which sums of usage are read. */
export interface UsageOptions extends CallOptions {
  by?: "month" | undefined;
}

/** Which jobs are listed. */
export interface ListOptions extends CallOptions {
  status?: Status | undefined;
  limit?: number | undefined;
  /** Only jobs whose metadata has all of these pairs. */
  metadata?: Record<string, string> | undefined;
  /** `next_cursor` of an earlier page, to continue after it. */
  cursor?: string | undefined;
}

/** How a job is submitted. */
export interface SubmitOptions extends CallOptions {
  /** Uploaded first and put into the workflow: `{ "10.image": file }`. */
  files?: Record<string, Blob> | undefined;
  /**
   * The same key and the same request always give the same job, also from another process. By default
   * each call of `submit` has a key of its own, which its retries share.
   */
  idempotencyKey?: string | undefined;
}

/**
 * A client of one Comfyline service. Any number of calls may run at once.
 *
 * Each call may throw ApiError, TransportFailed and UnexpectedAnswer; see core/errors.ts.
 */
export class Comfyline {
  /** What operators see and do, with a key that has the scope `admin`. */
  readonly admin: Admin;
  readonly #api: Api;

  /** @throws NotConfigured the URL or the key is missing or unusable. */
  constructor(options: Options = {}) {
    this.#api = new Api(settings(options));
    this.admin = new Admin(this.#api);
  }

  /**
   * Submit a job. It is made once, however often the call has to be repeated.
   *
   * @throws TypeError a number of the request has lost digits, or the workflow's text is not JSON.
   * @throws UploadFailed the file store refused a file.
   */
  async submit(request: SubmitRequest, options: SubmitOptions = {}): Promise<Job> {
    const { files = {}, idempotencyKey = randomName(), signal } = options;
    const body: Record<string, unknown> = { ...request };
    if (typeof body["workflow"] === "string") body["workflow"] = new JsonText(body["workflow"]);
    for (const [place, file] of Object.entries(files)) {
      body["inputs"] = {
        ...(body["inputs"] as object),
        [place]: await this.upload(file, { signal }),
      };
    }
    const headers = { "Idempotency-Key": idempotencyKey };
    const call = { headers, body, signal };
    const accepted = await this.#api.call<JobAccepted>("POST", "/jobs", "job_id", call);
    return new Job(this, this.#api, accepted.job_id, accepted);
  }

  /**
   * Submit a job and wait until it has succeeded; the returned job's `view` has the result.
   *
   * @throws JobNotSucceeded the job failed, was canceled or expired.
   * @throws WaitTimedOut the job has not ended within `timeoutSeconds`; it continues.
   */
  async run(request: SubmitRequest, options: SubmitOptions & FollowOptions = {}): Promise<Job> {
    const job = await this.submit(request, options);
    const error = endingError(await job.wait(options));
    if (error) throw error;
    return job;
  }

  /** The current job, with freshly signed URLs of its files. */
  get(jobId: string, { signal }: CallOptions = {}): Promise<JobView> {
    return this.#api.call<JobView>("GET", jobPath(jobId), "job_id", { signal });
  }

  /**
   * Your jobs, newest first, in pages of `limit` (1 to 100) that are read when needed.
   *
   * With `metadata` a page may be empty although later pages are not: each searches 1,000 jobs.
   */
  async *list(options: ListOptions = {}): AsyncGenerator<JobPage, void, undefined> {
    const { status, limit = 20, metadata = {}, signal } = options;
    const pairs = Object.entries(metadata).map(([name, value]) => [`metadata[${name}]`, value]);
    const filter = { limit, status, ...Object.fromEntries(pairs) };
    for (let cursor = options.cursor, more = true; more; more = cursor !== undefined) {
      const call = { query: { ...filter, cursor }, signal };
      const page = await this.#api.call<JobPage>("GET", "/jobs", "jobs", call);
      cursor = page.next_cursor ?? undefined;
      yield page;
    }
  }

  /** The files of an ended job, in the job's order, in pages that are read when needed. */
  async *artifacts(
    jobId: string,
    { signal }: CallOptions = {},
  ): AsyncGenerator<ArtifactPage, void, undefined> {
    const path = `${jobPath(jobId)}/artifacts`;
    for (let cursor: string | undefined, more = true; more; more = cursor !== undefined) {
      const call = { query: { cursor }, signal };
      const page = await this.#api.call<ArtifactPage>("GET", path, "artifacts", call);
      cursor = page.next_cursor ?? undefined;
      yield page;
    }
  }

  /**
   * A freshly signed URL of one file of the ended job; with `width`, of its thumbnail, if it has one.
   * With `inline`, a browser shows the file instead of saving it.
   */
  artifactUrl(
    jobId: string,
    number: number,
    options: { width?: 512 | undefined; inline?: boolean | undefined } & CallOptions = {},
  ): Promise<ArtifactLink> {
    const { width, inline, signal } = options;
    const query = { w: width, disposition: inline ? "inline" : undefined };
    const path = `${jobPath(jobId)}/artifacts/${number}`;
    return this.#api.call<ArtifactLink>("GET", path, "url", { query, signal });
  }

  /** The workflow that the job runs. */
  graph(jobId: string, { signal }: CallOptions = {}): Promise<GraphView> {
    return this.#api.call<GraphView>("GET", `${jobPath(jobId)}/graph`, "bytes", { signal });
  }

  /** The job's changes of state after that version, oldest first. */
  history(jobId: string, options: { after?: number } & CallOptions = {}): Promise<EventList> {
    const { after, signal } = options;
    const call = { query: { after }, signal };
    return this.#api.call<EventList>("GET", `${jobPath(jobId)}/events`, "events", call);
  }

  /** Cancel the job; the answer says what happened. An ended job does not change. */
  cancel(jobId: string, { signal }: CallOptions = {}): Promise<CancelAnswer> {
    return this.#api.call<CancelAnswer>("DELETE", jobPath(jobId), "job_id", { signal });
  }

  /** Remove an ended job and all its files for good; a job that has not ended is canceled. */
  purge(jobId: string, { signal }: CallOptions = {}): Promise<CancelAnswer> {
    const call = { query: { purge: "true" }, signal };
    return this.#api.call<CancelAnswer>("DELETE", jobPath(jobId), "job_id", call);
  }

  /**
   * Submit a new job with the input of one that failed, was canceled or expired.
   *
   * @throws Conflict the job has not ended, or it succeeded.
   */
  async retry(
    jobId: string,
    options: { idempotencyKey?: string | undefined } & CallOptions = {},
  ): Promise<Job> {
    const { idempotencyKey, signal } = options;
    // Without a key the service derives one from the job and its state.
    const headers: Record<string, string> = {};
    if (idempotencyKey) headers["Idempotency-Key"] = idempotencyKey;
    const path = `${jobPath(jobId)}/retry`;
    const accepted = await this.#api.call<JobAccepted>("POST", path, "job_id", { headers, signal });
    return new Job(this, this.#api, accepted.job_id, accepted);
  }

  /**
   * A short-lived token for a page, which acts in the name of one user of yours. For a backend: the
   * page gives it to its own client as `apiKey`.
   */
  createToken(request: TokenRequest, { signal }: CallOptions = {}): Promise<Token> {
    return this.#api.call<Token>("POST", "/tokens", "token", { body: request, signal });
  }

  /** The keys of your owner, oldest first, without their secrets. */
  keys({ signal }: CallOptions = {}): Promise<KeyList> {
    return this.#api.call<KeyList>("GET", "/keys", "keys", { signal });
  }

  /** A new key of your owner, which can do no more than yours. Its secret is shown once. */
  createKey(request: NewKeyRequest = {}, { signal }: CallOptions = {}): Promise<NewKey> {
    return this.#api.call<NewKey>("POST", "/keys", "key", { body: request, signal });
  }

  /** Disable a key of your owner for good. @throws TypeError it is no id of a key. */
  disableKey(keyId: string, { signal }: CallOptions = {}): Promise<KeyView> {
    return this.#api.call<KeyView>("DELETE", keyPath(keyId), "state", { signal });
  }

  /**
   * A new key in the place of one of your owner, which ends after the overlap of a day.
   *
   * @throws TypeError it is no id of a key.
   */
  rotateKey(keyId: string, overlapSeconds = 86_400, options: CallOptions = {}): Promise<NewKey> {
    const body = { overlap_seconds: overlapSeconds };
    const call = { body, signal: options.signal };
    return this.#api.call<NewKey>("POST", `${keyPath(keyId)}/rotate`, "key", call);
  }

  /** What jobs can use: checkpoints, samplers, schedulers, node classes. */
  models({ signal }: CallOptions = {}): Promise<Models> {
    return this.#api.call<Models>("GET", "/models", "checkpoints", { signal });
  }

  /** Who you are: the owner, the key, its scopes and limits, and how near you are to these. */
  me({ signal }: CallOptions = {}): Promise<Caller> {
    return this.#api.call<Caller>("GET", "/me", "scopes", { signal });
  }

  /** What your jobs have used so far; by month also in each of the last twelve months. */
  usage({ by, signal }: UsageOptions = {}): Promise<UsageView> {
    return this.#api.call<UsageView>("GET", "/usage", "gpu_seconds", { query: { by }, signal });
  }

  /**
   * Store an input file for 8 days; returns `upload:<id>`, for the `inputs` of a workflow.
   *
   * @throws UploadFailed the file store refused the file.
   */
  upload(file: Blob, options: UploadOptions = {}): Promise<string> {
    return upload(this.#api, file, options);
  }

  /** A handle of the job with this id; nothing is sent yet. @throws TypeError it is no job id. */
  job(jobId: string): Job {
    jobPath(jobId);
    return new Job(this, this.#api, jobId);
  }

  /**
   * The messages of several jobs (at most 250) over one socket, until all of them have ended.
   *
   * See `Job.events`.
   */
  events(
    jobIds: Iterable<string>,
    options: FollowOptions = {},
  ): AsyncGenerator<JobMessage, void, undefined> {
    const ids = [...jobIds];
    ids.forEach(jobPath);
    return follow(this.#api, ids, options);
  }

  /**
   * The messages of all jobs of the key's owner over one socket, until the signal is aborted.
   *
   * A lost socket is opened again by itself. A message may arrive twice: drop one that is not newer
   * by (version, part) than the newest of its job.
   *
   * @throws Unauthorized, Forbidden the key is not valid any longer.
   * @throws SubscriptionRefused the service will not serve the subscription.
   */
  allEvents({ signal }: CallOptions = {}): AllJobs {
    return new AllJobs(this.#api, signal);
  }
}

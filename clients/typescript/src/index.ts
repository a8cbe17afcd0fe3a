/**
 * The TypeScript client: submit jobs to a Comfyline service, follow them, and fetch their files.
 *
 *     const client = new Comfyline({ url, apiKey });
 *     const job = await client.submit({ prompt: "a red fox in the snow", steps: 20 });
 *     for await (const message of job.events()) console.log(message);
 */

export type { Admin, LiveJobsOptions, PageOptions } from "./admin.js";
export type { AllJobs, AllJobsMessage } from "./all.js";
export { Comfyline } from "./client.js";
export type { CallOptions, ListOptions, SubmitOptions, UsageOptions } from "./client.js";
export {
  ApiError,
  ComfylineError,
  Conflict,
  DownloadFailed,
  Forbidden,
  InvalidRequest,
  JobCanceled,
  JobExpired,
  JobFailed,
  JobNotSucceeded,
  NotConfigured,
  NotFound,
  RateLimited,
  ServiceUnavailable,
  SubscriptionRefused,
  TransportFailed,
  Unauthorized,
  UnexpectedAnswer,
  UploadFailed,
  WaitTimedOut,
} from "./core/errors.js";
export { parseJson, writeJson } from "./core/json.js";
export type { Pace } from "./core/pace.js";
export type { Backoff, Retries } from "./core/retries.js";
export { UNKNOWN, stateAfter } from "./core/state.js";
export type { JobState } from "./core/state.js";
export type * from "./core/wire.js";
export type { DownloadOptions } from "./downloads.js";
export type { FollowOptions } from "./follow.js";
export type { Job } from "./job.js";
export type { ApiKey, Options } from "./settings.js";
export type { UploadOptions } from "./uploads.js";

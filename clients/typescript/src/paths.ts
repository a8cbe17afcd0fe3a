/** Paths of the API. */

const JOB_ID = /^job_[0-9a-hjkmnp-tv-z]{26}$/;

/**
 * The job's path in the API.
 *
 * @throws TypeError `jobId` is not a job id. This also keeps slashes and queries out of the path.
 */
export function jobPath(jobId: string): string {
  if (JOB_ID.test(jobId)) return `/jobs/${jobId}`;
  throw new TypeError(
    `${JSON.stringify(jobId)} is not a job id: it must be job_ and 26 characters`,
  );
}

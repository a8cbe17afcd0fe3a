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

/**
 * The key's path in the API.
 *
 * @throws TypeError `keyId` is not the id of a key. An id is the part of a key after `cl_`.
 */
export function keyPath(keyId: string): string {
  if (/^[0-9a-f]{16}$/.test(keyId)) return `/keys/${keyId}`;
  throw new TypeError("that is not the id of a key: it must be 16 hexadecimal digits");
}

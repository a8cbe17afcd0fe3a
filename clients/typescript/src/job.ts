/** `Job` is one job of a service. */

import type { Api } from "./api.js";
import type { CallOptions, Comfyline } from "./client.js";
import { DownloadFailed } from "./core/errors.js";
import type {
  ArtifactPage,
  ArtifactView,
  CancelAnswer,
  JobAccepted,
  JobMessage,
  JobView,
} from "./core/wire.js";
import { download } from "./downloads.js";
import type { DownloadOptions } from "./downloads.js";
import type { FollowOptions } from "./follow.js";

/** One job: its id, and what can be done with it. */
export class Job {
  /** The job as it was read last: after `run`, `refresh` and `wait`. */
  view: JobView | undefined;
  readonly #client: Comfyline;
  readonly #api: Api;

  /** Made by `Comfyline`; `accepted` is set after a submission. */
  constructor(
    client: Comfyline,
    api: Api,
    readonly id: string,
    readonly accepted?: JobAccepted,
  ) {
    this.#client = client;
    this.#api = api;
  }

  /** The job as it is now. */
  async refresh(options: CallOptions = {}): Promise<JobView> {
    return (this.view = await this.#client.get(this.id, options));
  }

  /**
   * The job's messages from now on: each once, in order, the last one is `done`.
   *
   * A job that has ended yields its last state, its files and `done`. A loop that is left closes the
   * socket; the job continues.
   *
   * @throws WaitTimedOut the job has not ended within `timeoutSeconds`; it continues.
   * @throws SubscriptionRefused the service refuses to let this client follow the job.
   */
  events(options: FollowOptions = {}): AsyncGenerator<JobMessage, void, undefined> {
    return this.#client.events([this.id], options);
  }

  /**
   * Wait until the job has ended, successfully or not; check the view's `status`.
   *
   * @throws WaitTimedOut the job has not ended within `timeoutSeconds`; it continues.
   */
  async wait(options: FollowOptions = {}): Promise<JobView> {
    for await (const _ of this.events(options));
    return this.refresh(options);
  }

  /** Cancel the job; see `Comfyline.cancel`. */
  cancel(options: CallOptions = {}): Promise<CancelAnswer> {
    return this.#client.cancel(this.id, options);
  }

  /** Remove the job and its files; see `Comfyline.purge`. */
  purge(options: CallOptions = {}): Promise<CancelAnswer> {
    return this.#client.purge(this.id, options);
  }

  /** Submit a new job with the same input; see `Comfyline.retry`. */
  retry(options: { idempotencyKey?: string | undefined } & CallOptions = {}): Promise<Job> {
    return this.#client.retry(this.id, options);
  }

  /** The files of the ended job, in pages; see `Comfyline.artifacts`. */
  artifacts(options: CallOptions = {}): AsyncGenerator<ArtifactPage, void, undefined> {
    return this.#client.artifacts(this.id, options);
  }

  /**
   * The bytes of one of the job's files.
   *
   * A transfer that breaks continues where it broke, and a signed URL that has expired is renewed. On
   * pages with https, in Node, Deno and Bun the bytes match the job's SHA-256.
   *
   * @throws DownloadFailed the file did not arrive as promised.
   */
  download(artifact: ArtifactView, options: DownloadOptions = {}): Promise<Blob> {
    return download(this.#api, artifact, () => this.#renewed(artifact, options), options);
  }

  async #renewed(artifact: ArtifactView, { signal }: DownloadOptions): Promise<ArtifactView> {
    for await (const page of this.artifacts({ signal })) {
      const found = page.artifacts.find(
        ({ number, sha256 }) => number === artifact.number && sha256 === artifact.sha256,
      );
      if (found) return found;
    }
    throw new DownloadFailed(`${artifact.name}: the job no longer has this file`);
  }
}

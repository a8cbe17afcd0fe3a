/** Fetches one file of a job: continued where a transfer broke, and checked. */

import type { Api } from "./api.js";
import { DownloadFailed } from "./core/errors.js";
import { backoffSeconds } from "./core/retries.js";
import type { ArtifactView } from "./core/wire.js";
import { sha256 } from "./digest.js";
import { pause } from "./timing.js";

/** How a file is downloaded. */
export interface DownloadOptions {
  /** Told how many bytes have arrived. */
  onProgress?: ((received: number, total: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

// S3 answers 403 to a signature that is too old, and 400 (ExpiredToken) when the session of its
// signer has ended. A fresh URL helps with both.
const EXPIRED_URL = [400, 403];

/** A try failed, and the next one may succeed; with a fresh URL if `isExpired`. */
class TryFailed extends Error {
  constructor(
    message: string,
    readonly isExpired = false,
  ) {
    super(message);
  }
}

/**
 * The file's bytes. `renewed` returns the same file with a freshly signed URL.
 *
 * @throws DownloadFailed the file did not arrive as promised.
 */
export async function download(
  api: Api,
  artifact: ArtifactView,
  renewed: () => Promise<ArtifactView>,
  options: DownloadOptions = {},
): Promise<Blob> {
  const { tries, backoff } = api.settings.retries;
  const transfer = new Transfer(api, options);
  for (let failures = 1; ; failures++) {
    try {
      return await transfer.file(artifact);
    } catch (error) {
      options.signal?.throwIfAborted();
      if (!(error instanceof TryFailed) || failures >= tries) throw downloadFailed(artifact, error);
      await pause(backoffSeconds(backoff, failures), options.signal);
      if (error.isExpired) artifact = await renewed();
    }
  }
}

class Transfer {
  #chunks: BlobPart[] = [];
  #size = 0;

  constructor(
    private readonly api: Api,
    private readonly options: DownloadOptions,
  ) {}

  async file(artifact: ArtifactView): Promise<Blob> {
    if (this.#size < artifact.bytes || !this.#size) await this.#receive(artifact);
    if (this.#size !== artifact.bytes)
      throw new TryFailed(`not the ${artifact.bytes} bytes of the job`);
    const file = new Blob(this.#chunks, { type: artifact.content_type });
    const digest = await sha256(file);
    if (digest && digest !== artifact.sha256.toLowerCase()) {
      this.#startAgain(); // the next try must not continue from wrong bytes
      throw new TryFailed("the content does not match the job's SHA-256");
    }
    return file;
  }

  async #receive({ url, bytes }: ArtifactView): Promise<void> {
    const { signal, onProgress } = this.options;
    const headers: Record<string, string> = this.#size ? { Range: `bytes=${this.#size}-` } : {};
    // No limit of time: a large file may take long, and the signal ends it.
    const response = await this.#tried(
      this.api.settings.fetch(url, { headers, signal: signal ?? null }),
    );
    if (response.status !== 200 && response.status !== 206) {
      await response.body?.cancel();
      throw new TryFailed(`HTTP ${response.status}`, EXPIRED_URL.includes(response.status));
    }
    if (response.status === 200) this.#startAgain();
    const reader = response.body?.getReader();
    while (reader) {
      const { done, value } = await this.#tried(reader.read());
      if (done) return;
      this.#chunks.push(value as BlobPart);
      this.#size += value.length;
      if (this.#size > bytes) {
        this.#startAgain();
        await reader.cancel();
        throw new TryFailed(`more than the ${bytes} bytes of the job`);
      }
      onProgress?.(this.#size, bytes);
    }
  }

  async #tried<Result>(work: Promise<Result>): Promise<Result> {
    try {
      return await work;
    } catch (error) {
      // The message leaves out the URL, because everyone with its signature can read it.
      throw new TryFailed(error instanceof Error ? error.message : String(error));
    }
  }

  #startAgain(): void {
    this.#chunks = [];
    this.#size = 0;
  }
}

function downloadFailed(artifact: ArtifactView, cause: unknown): unknown {
  if (!(cause instanceof TryFailed)) return cause;
  return new DownloadFailed(`${artifact.name}: ${cause.message}`, { cause });
}

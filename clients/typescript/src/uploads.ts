/** Uploads an input file to the file store. */

import type { Api } from "./api.js";
import { UploadFailed } from "./core/errors.js";
import { waitAfterAnswer, waitAfterNoAnswer } from "./core/retries.js";
import type { UploadAccepted } from "./core/wire.js";
import { sha256 } from "./digest.js";
import { pause, within } from "./timing.js";

/** How a file is uploaded. */
export interface UploadOptions {
  /** The file's name. Nodes get the file with its suffix. By default the name of a `File`. */
  name?: string | undefined;
  /** The file's media type; by default the type of the `Blob`. */
  contentType?: string | undefined;
  /**
   * Told how many bytes were sent. A browser tells it while it sends; where there is no
   * XMLHttpRequest it is told once, at the end.
   */
  onProgress?: ((sent: number, total: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

const MEDIA_TYPE = /^[a-z]{1,31}\/[a-z0-9][a-z0-9.+-]{0,127}$/;
const SECONDS_PER_MEGABYTE = 10; // the slowest line that an upload is tried on

/**
 * Store the file; returns `upload:<id>`, the form in which `inputs` name an upload.
 *
 * @throws UploadFailed the file store refused the file, or could not be reached.
 * @throws ApiError, TransportFailed, UnexpectedAnswer as each call.
 */
export async function upload(api: Api, file: Blob, options: UploadOptions = {}): Promise<string> {
  const { signal, onProgress } = options;
  const name = options.name ?? (file as { name?: string }).name ?? "file";
  const essence = (options.contentType ?? file.type).split(";")[0]!.trim().toLowerCase();
  const content_type = MEDIA_TYPE.test(essence) ? essence : "application/octet-stream";
  const digest = await sha256(file);
  const body = { name, content_type, bytes: file.size, ...(digest && { sha256: digest }) };
  const form = await api.call<UploadAccepted>("POST", "/uploads", "upload_id", { body, signal });
  const content = new FormData();
  for (const [field, value] of Object.entries(form.fields)) content.append(field, value);
  content.append("file", file.slice(0, file.size, content_type), name);
  await send(api, form.url, content, file.size, { name, onProgress, signal });
  onProgress?.(file.size, file.size);
  return `upload:${form.upload_id}`;
}

interface Sending {
  name: string;
  onProgress: UploadOptions["onProgress"];
  signal: AbortSignal | undefined;
}

async function send(api: Api, url: string, form: FormData, bytes: number, sending: Sending) {
  const { retries, timeoutSeconds } = api.settings;
  const { name, onProgress, signal } = sending;
  const seconds = timeoutSeconds + (bytes / 1e6) * SECONDS_PER_MEGABYTE;
  const post = onProgress && globalThis.XMLHttpRequest ? postWithProgress : postWithFetch;
  for (let failures = 1; ; failures++) {
    // The messages leave out the URL, because everyone with its signature can upload.
    let wait: number | undefined;
    try {
      const status = await within(seconds, signal, (limit) =>
        post({ api, url, form, limit, onProgress }),
      );
      if (status >= 200 && status < 300) return;
      wait = waitAfterAnswer(retries, { status, header: () => null, text: "" }, failures);
      if (wait === undefined) throw new UploadFailed(`${name}: HTTP ${status} from the file store`);
    } catch (cause) {
      signal?.throwIfAborted();
      if (cause instanceof UploadFailed) throw cause;
      wait = waitAfterNoAnswer(retries, failures);
      if (wait === undefined) {
        throw new UploadFailed(`${name}: the file store cannot be reached`, { cause });
      }
    }
    await pause(wait, signal);
  }
}

interface Post {
  api: Api;
  url: string;
  form: FormData;
  limit: AbortSignal;
  onProgress: UploadOptions["onProgress"];
}

async function postWithFetch({ api, url, form, limit }: Post): Promise<number> {
  const response = await api.settings.fetch(url, { method: "POST", body: form, signal: limit });
  await response.body?.cancel();
  return response.status;
}

/** `fetch` does not tell how much it has sent; XMLHttpRequest does. */
function postWithProgress({ url, form, limit, onProgress }: Post): Promise<number> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", url);
    request.upload.onprogress = ({ loaded, total }) => onProgress?.(loaded, total);
    request.onload = () => resolve(request.status);
    request.onerror = () => reject(new Error("the connection failed"));
    request.onabort = () => reject(limit.reason);
    limit.addEventListener("abort", () => request.abort(), { once: true });
    request.send(form);
  });
}

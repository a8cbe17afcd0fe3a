/** All files of a job in one archive, which is made while the files arrive. */

import type { ArtifactView, Comfyline } from "@comfyline/client";
import { makeZip } from "client-zip";
import { safeUrl } from "../format.js";
import { zipNames } from "./zip-names.js";

// An archive that cannot be written to a file piece by piece is held by the browser.
export const MOST_HELD = 500e6; // bytes
const RENEW_MS = 60_000; // before the end of a signed URL

export class FileUnreadable extends Error {}

interface SavePicker {
  showSaveFilePicker?: (options: object) => Promise<{
    createWritable: () => Promise<WritableStream<Uint8Array>>;
  }>;
}

/** Where an archive is written: to a file, or to the browser's memory. */
export type Place = WritableStream<Uint8Array> | "memory";

/**
 * The place for the archive: a file of the user's choice where the browser writes to files.
 * Undefined if the user has chosen none. Ask right after a click.
 */
export async function choosePlace(name: string): Promise<Place | undefined> {
  if (!("showSaveFilePicker" in window)) return "memory";
  try {
    const file = await (window as SavePicker).showSaveFilePicker!({ suggestedName: name });
    return await file.createWritable();
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") return undefined;
    throw error;
  }
}

/** Writes the archive. What is in memory is handed to the browser as a download. */
export async function write(
  archived: ReadableStream<Uint8Array>,
  place: Place,
  name: string,
  signal: AbortSignal,
): Promise<void> {
  if (place === "memory") hand(await new Response(archived).blob(), name);
  else await archived.pipeTo(place, { signal });
}

function hand(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

export interface Archive {
  client: Comfyline;
  jobId: string;
  files: ArtifactView[];
  signal: AbortSignal;
  /** Called with the number of files whose reading has begun. */
  progressed: (begun: number) => void;
}

/** @throws FileUnreadable a file could not be read; its message is the file's name. */
export function archive(asked: Archive): ReadableStream<Uint8Array> {
  return makeZip(entries(asked));
}

async function* entries({ client, jobId, files, signal, progressed }: Archive) {
  const names = zipNames(files.map(({ name }) => name));
  for (const [n, file] of files.entries()) {
    signal.throwIfAborted();
    progressed(n);
    yield { name: names[n]!, input: await bytesOf(client, jobId, file, signal) };
  }
}

/** @throws FileUnreadable it could not be read; the message is the file's name. */
export async function bytesOf(
  client: Comfyline,
  jobId: string,
  file: ArtifactView,
  signal: AbortSignal,
): Promise<ReadableStream<Uint8Array>> {
  try {
    const url = safeUrl(await freshUrl(client, jobId, file, signal));
    const answer = url ? await fetch(url, { signal, credentials: "omit" }) : undefined;
    if (answer?.ok && answer.body) return answer.body;
  } catch (error) {
    if (signal.aborted) throw error;
  }
  throw new FileUnreadable(file.name);
}

/** The URL of the file; a new one if it may end before the file is read. */
async function freshUrl(
  client: Comfyline,
  jobId: string,
  file: ArtifactView,
  signal: AbortSignal,
): Promise<string> {
  const endsAt = file.url_expires_at ? Date.parse(file.url_expires_at) : Infinity;
  if (endsAt - Date.now() > RENEW_MS) return file.url;
  return (await client.artifactUrl(jobId, file.number ?? 0, { signal })).url;
}

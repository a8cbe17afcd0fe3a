/** The files of several jobs in one archive, each job in a folder of its own. */

import type { Comfyline, JobView } from "@comfyline/client";
import { makeZip } from "client-zip";
import { titleOf } from "../parts/job-card.js";
import { allFiles } from "../queries.js";
import { zipNames } from "../files/zip-names.js";
import { bytesOf } from "../files/zip.js";
import type { Outcome } from "./each.js";

const MOST_TITLE = 60; // letters of a folder's name

export class TooLarge extends Error {}
export class NothingRead extends Error {}

export interface JobsArchive {
  client: Comfyline;
  jobs: JobView[];
  signal: AbortSignal;
  /** The most bytes that the files may have in all. */
  most: number;
  /** Called after each job. A job with an error may have some of its files in the archive. */
  told: (outcome: Outcome) => void;
}

/** @throws TooLarge the files have more than `most` bytes. @throws NothingRead no file could be read. */
export function archiveOfJobs(asked: JobsArchive): ReadableStream<Uint8Array> {
  return makeZip(entries(asked));
}

async function* entries({ client, jobs, signal, most, told }: JobsArchive) {
  const folders = zipNames(jobs.map(folderOf));
  let left = most;
  let isEmpty = true;
  for (const [n, job] of jobs.entries()) {
    let error: unknown;
    const files = await allFiles(client, job.job_id, signal).catch((reason: unknown) => {
      error = reason;
      return [];
    });
    left -= files.reduce((sum, { bytes }) => sum + bytes, 0);
    if (left < 0) throw new TooLarge();
    const names = zipNames(files.map(({ name }) => name));
    for (const [k, file] of files.entries()) {
      signal.throwIfAborted();
      const input = await bytesOf(client, job.job_id, file, signal).catch((reason: unknown) => {
        error = reason;
        return undefined;
      });
      if (!input) continue;
      isEmpty = false;
      yield { name: `${folders[n]}/${names[k]}`, input };
    }
    signal.throwIfAborted();
    told(error === undefined ? { job } : { job, error });
  }
  if (isEmpty) throw new NothingRead();
}

/** Its title, without the dots by which names end. */
function folderOf(job: JobView): string {
  const title = (titleOf(job) ?? "").replaceAll(".", " ");
  return [...title].slice(0, MOST_TITLE).join("").trim() || job.job_id;
}

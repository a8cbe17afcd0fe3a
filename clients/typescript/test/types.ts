/** What the types allow and refuse: the compiler checks this file, and nothing runs it. */

import type { Comfyline, JobMessage, JobView } from "../src/index.js";

export async function allowed(client: Comfyline, signal?: AbortSignal): Promise<JobView> {
  await client.submit({ prompt: "a fox" }); // every field with a default may be left out
  await client.submit({ prompt: "a fox", seed: 2n ** 63n - 1n, output: { format: "webp" } });
  await client.submit({ workflow: "{}", inputs: { "10.image": "upload:upl_1" } });
  const job = await client.submit({ workflow: {} }, { signal, files: { "10.image": new Blob() } });
  return job.wait({ signal, timeoutSeconds: 60 });
}

export function narrowed(message: JobMessage): number | string {
  if (message.type === "progress") return message.progress;
  return message.type === "artifact" ? message.url : message.status;
}

export async function refused(client: Comfyline, view: JobView): Promise<void> {
  // @ts-expect-error a misspelt option
  await client.submit({ prompt: "a fox", stepz: 7 });
  // @ts-expect-error neither a prompt nor a workflow
  await client.submit({ steps: 7 });
  // @ts-expect-error no number
  await client.submit({ prompt: "a fox", seed: "7" });
  // @ts-expect-error no status
  client.list({ status: "done" });
  // @ts-expect-error a job in a list or before its end has no result
  console.log(view.result.artifacts);
}

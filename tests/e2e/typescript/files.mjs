// Uploads, downloads, cancels, lists and reads, and prints what it has found as one line of JSON:
// node files.mjs PICTURE

import { createHash } from "node:crypto";
import { openAsBlob } from "node:fs";
import { Comfyline, NotFound, writeJson } from "@comfyline/client";

const SEED = 2n ** 63n - 1n;
const PICTURE = { prompt: "a red fox", steps: 2, width: 64, height: 64 };
const COPY = {
  1: { class_type: "LoadImage", inputs: { image: "none" } },
  2: { class_type: "SaveImage", inputs: { images: ["1", 0], filename_prefix: "copy" } },
};

const client = new Comfyline();

const photo = await openAsBlob(process.argv[2], { type: "image/png" });
const image = await client.upload(photo, { name: "photo.png" });
const copied = await client.run({ workflow: COPY, inputs: { "1.image": image } }, { timeoutSeconds: 60 });
const [file] = copied.view.result.artifacts;
const bytes = new Uint8Array(await (await copied.download(file)).arrayBuffer());

const seeded = await client.run({ ...PICTURE, seed: SEED }, { timeoutSeconds: 60 });
const again = await client.submit({ workflow: JSON.stringify(COPY) }, { files: { "1.image": photo } });
await again.wait({ timeoutSeconds: 60 });

const long = await client.submit({ ...PICTURE, steps: 1000 });
const canceled = await long.cancel();
const end = await long.wait({ timeoutSeconds: 60 });

const listed = [];
for await (const page of client.list({ limit: 2 })) {
  listed.push(...page.jobs.map(({ job_id }) => job_id));
  if (listed.includes(copied.id)) break;
}
const refused = await client.get("job_00000000000000000000000000").catch((error) => error);
const retried = await long.retry();
await retried.cancel();

console.log(
  writeJson({
    uploaded: image.startsWith("upload:upl_"),
    downloaded: { sha256: createHash("sha256").update(bytes).digest("hex"), expected: file.sha256 },
    seed: seeded.view.params.seed,
    seed_of_file: seeded.view.result.artifacts[0].seed,
    again: again.view.status,
    canceled: [["canceled", "canceling"].includes(canceled.status), end.status],
    listed: [copied, seeded, again, long].every(({ id }) => listed.includes(id)),
    not_found: refused instanceof NotFound,
    retried: retried.id !== long.id,
    samplers: (await client.models()).samplers.includes("euler"),
    jobs: (await client.usage()).jobs >= 1,
  }),
);

// Submits a job and prints each of its messages as a line of JSON. The socket leads through a proxy
// that the test cuts: node follow.mjs HOST:PORT STEPS

import { Comfyline } from "@comfyline/client";
import { proxied } from "./settings.js";

const [host, steps] = process.argv.slice(2);

const client = new Comfyline(proxied(host));
const job = await client.submit({ prompt: "from node", steps: Number(steps), width: 64, height: 64 });
console.log(job.id);
for await (const message of job.events({ timeoutSeconds: 110 })) {
  console.log(JSON.stringify(message));
}

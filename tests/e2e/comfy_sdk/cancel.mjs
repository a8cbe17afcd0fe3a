// Cancels the named job by Comfy's own client, waits for its end, and prints the states it saw.
import { Comfy } from "@comfyorg/sdk";

const client = new Comfy({ apiKey: process.env.COMFY_API_KEY });
const [jobId] = process.argv.slice(2);

const job = await client.jobs.get(jobId);
const seen = [job.status];
await (await job.cancel()).wait(60_000);
seen.push(job.status);
console.log(JSON.stringify(seen));

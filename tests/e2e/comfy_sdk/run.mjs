// Runs Comfy's own client against COMFY_BASE_URL, and prints what it has seen as JSON.
import { Comfy } from "@comfyorg/sdk";

const client = new Comfy({ apiKey: process.env.COMFY_API_KEY });
const [photo] = process.argv.slice(2);
const graph = (image) => ({
  1: { class_type: "LoadImage", inputs: { image } },
  2: { class_type: "ImageInvert", inputs: { image: ["1", 0] } },
  3: { class_type: "SaveImage", inputs: { images: ["2", 0], filename_prefix: "sdk" } },
});
const seen = {};

const asset = client.assets.fromFile(photo);
const workflow = client.workflows.fromJson(graph(""));
workflow.setInput("1", "image", asset);
const job = await client.run(workflow);
seen.status = job.status;
seen.picture = Buffer.from(await job.outputs[0].toBytes()).toString("base64");
seen.sameAsset = (await client.assets.fromFile(photo).commit()) === asset.id;

const followed = await client.submit(client.workflows.fromJson(graph(asset.filePath)));
seen.events = [];
for await (const event of followed.events()) seen.events.push(event.kind);
await followed.refresh();
seen.followed = followed.status;
seen.workflow = (await followed.getWorkflow()).format;


try {
  await client.submit(client.workflows.fromJson({ 1: { class_type: "Nope", inputs: {} } }));
} catch (error) {
  seen.refused = error.name;
}
await client.assets.delete(asset.id);
console.log(JSON.stringify(seen));

import { useComfyline, useJob } from "@comfyline/client/react";
import { StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import { proxied, settings } from "./settings.js";

const { url, apiKey, proxy, prompt } = settings();
window.seen = []; // each state that was drawn

function Picture() {
  const client = useComfyline({ url, apiKey, ...proxied(proxy) });
  const [jobId, setJobId] = useState();
  const [upload, setUpload] = useState();
  const job = useJob(client, jobId);
  window.seen.push({ ...job, jobId });
  const start = async () => setJobId((await client.submit(prompt)).id);
  const send = async (event) => setUpload(await client.upload(event.target.files[0]));
  return (
    <>
      <button onClick={start}>Draw</button>
      <input type="file" onChange={send} />
      <output>{upload}</output>
      <progress value={job.progress} />
      <p>{job.error ? String(job.error) : job.status}</p>
      {job.artifacts.map((file) => (
        <img key={file.number} src={file.url} alt={file.name} />
      ))}
    </>
  );
}

createRoot(document.querySelector("main")).render(
  <StrictMode>
    <Picture />
  </StrictMode>,
);

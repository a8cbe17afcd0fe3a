/** Uploads and downloads. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import test from "node:test";
import { DownloadFailed, UploadFailed } from "../src/index.js";
import type { ArtifactView } from "../src/index.js";
import { JOB, clientOf, inTurn, service } from "./fakes.js";
import type { Reply, Sent } from "./fakes.js";

const FORM = {
  upload_id: "upl_1",
  url: "https://store.test/bucket",
  fields: { key: "uploads/1", "Content-Type": "image/png" },
  expires_at: "2026-01-02T03:04:05Z",
};

/** A service that answers to the calls of the API, and `store` to those of the file store. */
function withStore(store: (request: Sent) => Reply | Response) {
  return service((request) => {
    if (request.url.host === "store.test") return store(request);
    return request.url.pathname.endsWith("/uploads")
      ? { status: 201, body: FORM }
      : { status: 202, body: { job_id: JOB } };
  });
}

function sha256(content: Uint8Array | string): string {
  return createHash("sha256").update(content).digest("hex");
}

// --- uploads --------------------------------------------------------------------------------------

test("a file is described, then posted as the last field of the form, without the key", async () => {
  const { fetch, requests } = withStore(() => ({ status: 204 }));
  const told: [number, number][] = [];
  const file = new File(["pixels"], "fox.png", { type: "image/png" });
  const onProgress = (sent: number, total: number) => void told.push([sent, total]);
  assert.equal(await clientOf({ fetch }).upload(file, { onProgress }), "upload:upl_1");
  const [asked, posted] = requests;
  const about = { name: "fox.png", content_type: "image/png", bytes: 6, sha256: sha256("pixels") };
  assert.deepEqual(JSON.parse(asked!.body as string), about);
  assert.equal(posted!.headers.get("authorization"), null);
  const form = [...(posted!.body as FormData)];
  assert.deepEqual(
    form.map(([name]) => name),
    ["key", "Content-Type", "file"],
  );
  const sent = form[2]![1] as File;
  assert.deepEqual([sent.name, sent.type, await sent.text()], ["fox.png", "image/png", "pixels"]);
  assert.deepEqual(told, [[6, 6]]);
});

test("a type that the service would refuse becomes one that it takes", async () => {
  const { fetch, requests } = withStore(() => ({ status: 200 }));
  const client = clientOf({ fetch });
  await client.upload(new Blob(["a"], { type: "text/plain;charset=utf-8" }), { name: "a.txt" });
  await client.upload(new Blob(["a"]), { name: "a.latent" });
  await client.upload(new Blob(["a"]), { name: "a.glb", contentType: "MODEL/gltf-binary" });
  const asked = requests.filter(({ url }) => url.host !== "store.test");
  const types = asked.map(
    ({ body }) => (JSON.parse(body as string) as { content_type: string }).content_type,
  );
  assert.deepEqual(types, ["text/plain", "application/octet-stream", "model/gltf-binary"]);
});

test("files of a submission are put into the workflow's inputs", async () => {
  const { fetch, requests } = withStore(() => ({ status: 204 }));
  const graph = { "10": { class_type: "LoadImage", inputs: {} } };
  const request = { workflow: graph, inputs: { "11.image": "upload:upl_0" } };
  await clientOf({ fetch }).submit(request, { files: { "10.image": new Blob(["x"]) } });
  const { inputs } = JSON.parse(requests.at(-1)!.body as string) as { inputs: unknown };
  assert.deepEqual(inputs, { "11.image": "upload:upl_0", "10.image": "upload:upl_1" });
  assert.deepEqual(request.inputs, { "11.image": "upload:upl_0" });
});

test("a store that is down is tried again, and one that refuses is an error without the URL", async () => {
  const shaky = withStore(inTurn<Reply>([{ down: true }, { status: 503 }, { status: 200 }]));
  const retries = { tries: 3 };
  await clientOf({ fetch: shaky.fetch, retries }).upload(new Blob(["x"]), { name: "a.png" });
  const refusing = withStore(() => ({ status: 403 }));
  await assert.rejects(
    clientOf({ fetch: refusing.fetch, retries }).upload(new Blob(["x"])),
    (error: Error) => {
      assert.ok(error instanceof UploadFailed);
      assert.equal(error.message, "file: HTTP 403 from the file store");
      return true;
    },
  );
  const down = withStore(() => ({ down: true }));
  await assert.rejects(
    clientOf({ fetch: down.fetch, retries }).upload(new Blob(["x"])),
    UploadFailed,
  );
});

/** As much of XMLHttpRequest as an upload with progress uses. */
class FakeRequest {
  static sent: FakeRequest[] = [];
  upload: { onprogress?: (event: { loaded: number; total: number }) => void } = {};
  status = 0;
  onload = () => {};
  onerror = () => {};
  onabort = () => {};
  open(): void {}

  send(): void {
    FakeRequest.sent.push(this);
    this.upload.onprogress?.({ loaded: 3, total: 6 });
    if (FakeRequest.sent.length === 1) return this.onerror();
    this.status = 204;
    this.onload();
  }

  abort(): void {
    this.onabort();
  }
}

test("where there is XMLHttpRequest, progress is told while the file is sent", async () => {
  const { fetch } = withStore(() => assert.fail("sent by fetch"));
  const told: number[] = [];
  Object.assign(globalThis, { XMLHttpRequest: FakeRequest });
  try {
    const client = clientOf({ fetch, retries: { tries: 2 } });
    await client.upload(new Blob(["pixels"]), { onProgress: (sent) => void told.push(sent) });
  } finally {
    Reflect.deleteProperty(globalThis, "XMLHttpRequest");
  }
  assert.equal(FakeRequest.sent.length, 2);
  assert.deepEqual(told, [3, 3, 6]);
});

// --- downloads ------------------------------------------------------------------------------------

const CONTENT = new TextEncoder().encode("the pixels of a fox");

function artifact(changes: Partial<ArtifactView> = {}): ArtifactView {
  return {
    number: 0,
    url: "https://store.test/fox?signature=1",
    name: "fox.png",
    kind: "image",
    content_type: "image/png",
    bytes: CONTENT.length,
    sha256: sha256(CONTENT),
    node: "9",
    ...changes,
  };
}

/** A response whose body breaks after its chunks. */
function broken(status: number, ...chunks: Uint8Array[]): Response {
  const left = [...chunks];
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      const chunk = left.shift();
      if (chunk) controller.enqueue(chunk);
      else controller.error(new TypeError("terminated"));
    },
  });
  return new Response(body, { status });
}

test("a file's bytes are returned with its type, and progress is told", async () => {
  const { fetch, requests } = withStore(() => new Response(CONTENT));
  const told: number[] = [];
  const onProgress = (received: number) => void told.push(received);
  const file = await clientOf({ fetch }).job(JOB).download(artifact(), { onProgress });
  assert.deepEqual([file.type, await file.text()], ["image/png", "the pixels of a fox"]);
  assert.deepEqual(
    [requests[0]!.headers.get("authorization"), told.at(-1)],
    [null, CONTENT.length],
  );
});

test("a transfer that breaks continues where it broke", async () => {
  const { fetch, requests } = withStore(
    inTurn([
      broken(200, CONTENT.slice(0, 4), CONTENT.slice(4, 9)),
      new Response(CONTENT.slice(9), { status: 206 }),
    ]),
  );
  const file = await clientOf({ fetch, retries: { tries: 2 } })
    .job(JOB)
    .download(artifact());
  assert.equal(await file.text(), "the pixels of a fox");
  assert.deepEqual(
    requests.map(({ headers }) => headers.get("range")),
    [null, "bytes=9-"],
  );
});

test("a store that cannot continue sends the whole file again", async () => {
  const { fetch } = withStore(inTurn([broken(200, CONTENT.slice(0, 9)), new Response(CONTENT)]));
  const file = await clientOf({ fetch, retries: { tries: 2 } })
    .job(JOB)
    .download(artifact());
  assert.equal(await file.text(), "the pixels of a fox");
});

test("wrong bytes are fetched again from the start, and in the end are an error", async () => {
  const wrong = () => new Response("the pixels of a cat");
  const { fetch, requests } = withStore(inTurn([wrong(), new Response(CONTENT)]));
  await clientOf({ fetch, retries: { tries: 2 } })
    .job(JOB)
    .download(artifact());
  assert.deepEqual(
    requests.map(({ headers }) => headers.get("range")),
    [null, null],
  );
  const always = withStore(wrong);
  const failed = clientOf({ fetch: always.fetch, retries: { tries: 2 } })
    .job(JOB)
    .download(artifact());
  await assert.rejects(failed, (error: Error) => {
    assert.ok(error instanceof DownloadFailed);
    assert.equal(error.message, "fox.png: the content does not match the job's SHA-256");
    return true;
  });
});

test("a response that is too long or too short is an error", async () => {
  for (const text of ["the pixels of a fox and more", "the pixels"]) {
    const { fetch } = withStore(() => new Response(text));
    const failed = clientOf({ fetch }).job(JOB).download(artifact());
    await assert.rejects(failed, /fox.png: (more than|not) the 19 bytes of the job/);
  }
});

test("a URL that has expired is renewed from the page that has the file", async () => {
  const other = artifact({ number: 1, sha256: sha256("other") });
  const pages = inTurn<Reply>([
    { body: { job_id: JOB, artifacts: [other], artifacts_total: 2, next_cursor: "c" } },
    {
      body: {
        job_id: JOB,
        artifacts: [artifact({ url: "https://store.test/fresh" })],
        artifacts_total: 2,
      },
    },
  ]);
  const { fetch, requests } = service(({ url }) => {
    if (url.host !== "store.test") return pages();
    return url.pathname === "/fresh" ? new Response(CONTENT) : { status: 403 };
  });
  const file = await clientOf({ fetch, retries: { tries: 2 } })
    .job(JOB)
    .download(artifact());
  assert.equal(file.size, CONTENT.length);
  assert.deepEqual(
    requests.map(({ url }) => url.pathname + url.search),
    [
      "/fox?signature=1",
      `/api/v1/jobs/${JOB}/artifacts`,
      `/api/v1/jobs/${JOB}/artifacts?cursor=c`,
      "/fresh",
    ],
  );
});

test("a file that the job no longer has is an error", async () => {
  const { fetch } = service(({ url }) =>
    url.host === "store.test"
      ? { status: 403 }
      : { body: { job_id: JOB, artifacts: [], artifacts_total: 0 } },
  );
  const failed = clientOf({ fetch, retries: { tries: 2 } })
    .job(JOB)
    .download(artifact());
  await assert.rejects(failed, /fox.png: the job no longer has this file/);
});

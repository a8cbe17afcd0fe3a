/** The hooks, rendered by React. */

import assert from "node:assert/strict";
import test from "node:test";
import { createElement } from "react";
import { act, create } from "react-test-renderer";
import type { ReactTestRenderer } from "react-test-renderer";
import { NotFound } from "../src/index.js";
import { useComfyline, useJob } from "../src/react.js";
import type { FollowedJob } from "../src/react.js";
import { JOB, KEY, OTHER, SOCKET_PASS, URL_, service, sockets } from "./fakes.js";
import type { Peer } from "./fakes.js";

Object.assign(globalThis, { IS_REACT_ACT_ENVIRONMENT: true });

interface Shown {
  job: FollowedJob;
  client: unknown;
}

const DONE = { type: "done", job_id: JOB, version: 3, part: 1, status: "succeeded" };

function snapshot(version: number) {
  const message = { type: "status", job_id: JOB, version, part: 0, status: "running" };
  return { ...message, progress: 0.25, attempt: 1, snapshot: true };
}

/** A component that uses both hooks, and what it has shown. */
function page(options: Parameters<typeof useComfyline>[0]) {
  const shown: Shown[] = [];
  const Page = ({ jobId }: { jobId: string | undefined }) => {
    const client = useComfyline({ url: URL_, apiKey: KEY, ...options }); // new options each time
    shown.push({ client, job: useJob(client, jobId) });
    return null;
  };
  return { Page, shown };
}

async function rendered(element: Parameters<typeof create>[0]): Promise<ReactTestRenderer> {
  let root: ReactTestRenderer;
  await act(async () => {
    root = create(element);
  });
  return root!;
}

/** Let React show what has happened until the condition holds. */
async function until(holds: () => boolean): Promise<void> {
  for (let turn = 0; turn < 500 && !holds(); turn++) await act(() => new Promise(setImmediate));
  assert.ok(holds());
}

test.before(() => {
  // React 19 says on the console that its renderer for tests is deprecated.
  const error = console.error;
  const isNotice = (text: unknown) => String(text).startsWith("react-test-renderer is deprecated");
  console.error = (...line: unknown[]) => (isNotice(line[0]) ? undefined : error(...line));
});

test("a component shows the job's state, and leaves when it is unmounted", async () => {
  let peer: Peer | undefined;
  let closed: unknown = "open";
  const { WebSocket } = sockets(() => async (one: Peer) => {
    peer = one;
    await one.heard();
    one.send(snapshot(1));
    closed = await one.heard();
  });
  const { fetch } = service(() => SOCKET_PASS);
  const { Page, shown } = page({ fetch, WebSocket });
  const root = await rendered(createElement(Page, { jobId: JOB }));
  await until(() => shown.at(-1)!.job.status === "running");
  assert.equal(shown.at(-1)!.job.progress, 0.25);
  await act(async () =>
    peer!.send({ type: "progress", job_id: JOB, version: 2, part: 0, progress: 0.5, preview: "p" }),
  );
  await until(() => shown.at(-1)!.job.progress === 0.5);
  assert.equal(shown.at(-1)!.job.preview, "p");
  await act(async () => root.unmount());
  await new Promise(setImmediate);
  assert.equal(closed, undefined);
  assert.equal(new Set(shown.map(({ client }) => client)).size, 1);
});

test("another job begins with an unknown state, and no job is followed without an id", async () => {
  const { WebSocket, opened } = sockets(() => async (peer: Peer) => {
    const { job_id } = (await peer.heard())!;
    for (const message of [snapshot(1), DONE]) peer.send({ ...message, job_id });
  });
  const { fetch } = service(() => SOCKET_PASS);
  const { Page, shown } = page({ fetch, WebSocket });
  const root = await rendered(createElement(Page, { jobId: undefined }));
  assert.deepEqual([shown.at(-1)!.job.status, opened.length], [undefined, 0]);
  await act(async () => root.update(createElement(Page, { jobId: JOB })));
  await until(() => shown.at(-1)!.job.done?.job_id === JOB);
  const before = shown.length;
  await act(async () => root.update(createElement(Page, { jobId: OTHER })));
  assert.equal(shown[before]!.job.status, undefined);
  await until(() => shown.at(-1)!.job.done?.job_id === OTHER);
  await act(async () => root.unmount());
});

test("a job that cannot be followed shows the error", async () => {
  const missing = {
    type: "urn:x",
    title: "Job not found",
    status: 404,
    detail: "No.",
    code: "job_not_found",
  };
  const { fetch } = service(({ method }) =>
    method === "POST" ? SOCKET_PASS : { status: 404, body: missing },
  );
  const { Page, shown } = page({ fetch, WebSocket: sockets(() => null).WebSocket });
  const root = await rendered(createElement(Page, { jobId: JOB }));
  await until(() => shown.at(-1)!.job.error !== undefined);
  assert.ok(shown.at(-1)!.job.error instanceof NotFound);
  await act(async () => root.unmount());
});

/** The client passes the vectors that all clients share; tests/vectors/README.md explains them. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { ApiError, ComfylineError, SubscriptionRefused, parseJson } from "../src/index.js";
import type { Comfyline, JobMessage, Status, SubmitRequest } from "../src/index.js";
import { JOB, SOCKET_PASS, all, clientOf, inTurn, service, sockets } from "./fakes.js";
import type { Reply, Sent } from "./fakes.js";
import { waitsOf } from "./waits.js";

const FOLDER = new URL("../../../../tests/vectors/", import.meta.url);

type Fields = Record<string, unknown>;

interface Expected {
  events: [string, number, number, Fields?][];
  subscriptions?: Fields[][];
  reads?: number;
  history_after?: number[];
  requests?: { method: string; path: string; headers?: Record<string, string>; body?: unknown }[];
  one_key?: boolean;
  waits?: [least: number, most: number][];
  result?: Fields | Fields[];
  error?: { name: string } & Fields;
}

interface Following {
  name: string;
  jobs?: string[];
  connections: { frames: (object | string)[]; then: "drop" | "stay" | "refuse" }[] | null;
  reads?: (Reply & { view?: object })[];
  history?: object[] | null;
  silence_seconds?: number;
  expect: Expected;
}

interface Call {
  name: string;
  call: "submit" | "get" | "list" | "cancel" | "purge" | "retry" | "models" | "me" | "usage";
  job_id?: string;
  request?: SubmitRequest;
  idempotency_key?: string;
  status?: Status | null;
  limit?: number;
  metadata?: Record<string, string>;
  tries?: number;
  answers: Reply[];
  expect: Expected;
}

function vectors<File>(name: string): File {
  return parseJson(readFileSync(new URL(name, FOLDER), "utf8")) as File;
}

function field(value: unknown, path: string): unknown {
  return path.split(".").reduce((found, step) => (found as Fields)?.[step], value);
}

function assertFields(value: unknown, expected: Fields): void {
  const found = Object.keys(expected).map((path) => [path, field(value, path)]);
  assert.deepEqual(Object.fromEntries(found), expected);
}

function assertError(error: unknown, expected: Expected["error"]): void {
  if (!expected) {
    assert.equal(error, undefined);
    return;
  }
  assert.ok(error instanceof ComfylineError, String(error));
  const { name, message } = error;
  const code = error instanceof SubscriptionRefused ? { code: error.code } : {};
  const { status, requestId, retryAfterSeconds } = error instanceof ApiError ? error : {};
  const refusal = { status, request_id: requestId, retry_after_seconds: retryAfterSeconds };
  assertFields({ name, message, ...code, ...refusal }, expected);
}

// --- following ------------------------------------------------------------------------------------

const FOLLOWING = vectors<{ view: object; cases: Following[] }>("following.json");

for (const scene of FOLLOWING.cases) {
  test(`following: ${scene.name}`, async () => {
    const { expect, jobs = [JOB], silence_seconds: silence = 60 } = scene;
    const subscriptions: Fields[][] = [];
    const historyAfter: number[] = [];
    let reads = 0;
    const ended = new Set<unknown>();
    const connections = [...(scene.connections ?? [])];
    const read = inTurn(scene.reads ?? []);

    const { fetch } = service(({ url, method }: Sent): Reply => {
      if (method === "POST")
        return scene.connections ? SOCKET_PASS : { ...SOCKET_PASS, body: { ticket: "x" } };
      if (url.pathname.endsWith("/events")) {
        historyAfter.push(Number(url.searchParams.get("after")));
        if (scene.history === null) return { status: 404 };
        return { body: { job_id: JOB, events: [], messages: scene.history ?? [] } };
      }
      reads += 1;
      const { view, ...answer } = read();
      return view ? { body: { ...FOLLOWING.view, ...view } } : answer;
    });

    const { WebSocket } = sockets(() => {
      const script = connections.shift();
      if (!script || script.then === "refuse") return null;
      return async (peer) => {
        const heard: Fields[] = [];
        subscriptions.push(heard);
        for (const _ of jobs.filter((job) => !ended.has(job))) heard.push((await peer.heard())!);
        for (const frame of script.frames) {
          if (typeof frame === "object" && field(frame, "type") === "done")
            ended.add(field(frame, "job_id"));
          peer.send(frame);
        }
        if (script.then === "drop") peer.drop();
      };
    });

    const pace = { silenceSeconds: silence, queueSeconds: silence, placeSeconds: silence };
    const client = clientOf({ fetch, WebSocket, pace });
    const messages: JobMessage[] = [];
    let error: unknown;
    try {
      for await (const message of client.events(jobs, { timeoutSeconds: 20 }))
        messages.push(message);
    } catch (thrown) {
      error = thrown;
    }
    const numbers = messages.map(({ type, version, part }) => [type, version, part]);
    assert.deepEqual(
      numbers,
      expect.events.map((event) => event.slice(0, 3)),
    );
    messages.forEach((message, n) => assertFields(message, expect.events[n]![3] ?? {}));
    assertError(error, expect.error);
    if (expect.subscriptions) assert.deepEqual(subscriptions, expect.subscriptions);
    assert.equal(reads, expect.reads ?? reads);
    if (expect.history_after) assert.deepEqual(historyAfter, expect.history_after);
  });
}

// --- calls ----------------------------------------------------------------------------------------

async function called(client: Comfyline, scene: Call): Promise<unknown> {
  const { call, job_id: id = JOB, request, idempotency_key: key, status, limit, metadata } = scene;
  switch (call) {
    case "submit":
      return client.submit(request!, key ? { idempotencyKey: key } : {});
    case "list":
      return all(client.list({ status: status ?? undefined, limit: limit!, metadata }));
    case "models":
    case "me":
    case "usage":
      return client[call]();
    default:
      return client[call](id);
  }
}

function assertRequest(sent: Sent, expected: NonNullable<Expected["requests"]>[number]): void {
  const query = new URLSearchParams(sent.url.search);
  const wanted = new URL(expected.path, "https://api.test");
  assert.deepEqual([sent.method, sent.url.pathname], [expected.method, wanted.pathname]);
  assert.deepEqual(Object.fromEntries(query), Object.fromEntries(wanted.searchParams));
  for (const [name, value] of Object.entries(expected.headers ?? {})) {
    assert.equal(sent.headers.get(name), value);
  }
  if (expected.body) assert.deepEqual(parseJson(sent.body as string), expected.body);
}

for (const scene of vectors<{ cases: Call[] }>("calls.json").cases) {
  test(`calls: ${scene.name}`, async () => {
    const { expect, answers, tries = 5 } = scene;
    const { fetch, requests } = service(inTurn(answers));
    const retries = { tries, backoff: { baseSeconds: 0.5, capSeconds: 8 } };
    const client = clientOf({ fetch, retries });
    let result: unknown, error: unknown;
    const waits = await waitsOf(async () => {
      result = await called(client, scene).catch((thrown: unknown) => void (error = thrown));
    });
    assertError(error, expect.error);
    if (expect.requests) {
      assert.equal(requests.length, expect.requests.length);
      requests.forEach((sent, n) => assertRequest(sent, expect.requests![n]!));
    }
    if (expect.one_key) {
      const keys = new Set(requests.map(({ headers }) => headers.get("idempotency-key") ?? ""));
      assert.deepEqual(
        [...keys].map((key) => key.length >= 32),
        [true],
      );
    }
    if (expect.waits) {
      assert.equal(waits.length, expect.waits.length);
      expect.waits.forEach(([least, most], n) =>
        assert.ok(least <= waits[n]! && waits[n]! <= most),
      );
    }
    const wanted = expect.result ?? {};
    if (!Array.isArray(wanted)) assertFields(result, wanted);
    else wanted.forEach((fields, n) => assertFields((result as unknown[])[n], fields));
  });
}

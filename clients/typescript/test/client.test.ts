/** What only this client has: settings, signals, timeouts, socket passes. */

import assert from "node:assert/strict";
import { after, test } from "node:test";
import * as index from "../src/index.js";
import {
  Comfyline,
  NotConfigured,
  TransportFailed,
  Unauthorized,
  WaitTimedOut,
} from "../src/index.js";
import { Following } from "../src/core/following.js";
import type { Opening, Step } from "../src/core/following.js";
import { SocketLost } from "../src/core/incoming.js";
import { PACE } from "../src/core/pace.js";
import { jobPath } from "../src/paths.js";
import {
  JOB,
  KEY,
  OTHER,
  SOCKET_PASS,
  URL_,
  WS_URL,
  all,
  clientOf,
  inTurn,
  service,
  sockets,
} from "./fakes.js";
import type { Peer } from "./fakes.js";

const USAGE = { body: { owner: "ann", gpu_seconds: 1, jobs: 1 } };
const RUNNING = {
  job_id: JOB,
  status: "running",
  progress: 0.1,
  progress_detail: {},
  attempt: 1,
  version: 1,
};

function snapshot(version: number) {
  const message = { type: "status", job_id: JOB, version, part: 0, status: "running" };
  return { ...message, progress: 0.1, attempt: 1, snapshot: true };
}

const DONE = { type: "done", job_id: JOB, version: 9, part: 1, status: "succeeded" };

/** A service with sockets, and a job that runs. */
function live(talk: (peer: Peer) => Promise<void> | void) {
  const http = service(({ method }) => (method === "POST" ? SOCKET_PASS : { body: RUNNING }));
  return { ...http, ...sockets(() => talk) };
}

// --- settings -------------------------------------------------------------------------------------

const ENVIRONMENT = { ...process.env };
after(() => Object.assign(process.env, ENVIRONMENT));

test("the URL and the key come from the environment, and the URL of the API is taken too", async () => {
  Object.assign(process.env, {
    COMFYLINE_URL: `${URL_}/stage/api/v1/\n`,
    COMFYLINE_API_KEY: "cl_env\n",
  });
  const { fetch, requests } = service(() => USAGE);
  await new Comfyline({ fetch }).usage();
  assert.equal(requests[0]!.url.href, `${URL_}/stage/api/v1/usage`);
  assert.equal(requests[0]!.headers.get("authorization"), "Bearer cl_env");
  delete process.env["COMFYLINE_URL"];
  delete process.env["COMFYLINE_API_KEY"];
});

test("a missing or wrong setting is named", () => {
  const cases = [
    [{ apiKey: KEY }, /^url is not set/],
    [{ url: URL_ }, /^apiKey is not set/],
    [{ url: "api.test", apiKey: KEY }, /^url is not a URL/],
    [{ url: "ftp://api.test", apiKey: KEY }, /^url must begin with https:/],
    [{ url: URL_, apiKey: "cl_é" }, /^apiKey holds characters/],
    [{ url: URL_, apiKey: KEY, wsUrl: URL_ }, /^wsUrl must begin with wss:/],
  ] as const;
  for (const [options, message] of cases) {
    assert.throws(
      () => new Comfyline(options),
      (error: Error) => {
        assert.ok(error instanceof NotConfigured);
        assert.match(error.message, message);
        assert.ok(!error.message.includes(KEY));
        return true;
      },
    );
  }
});

test("in a page, a path of the page's own origin is a URL", async () => {
  const { fetch, requests } = service(() => USAGE);
  Object.assign(globalThis, { location: { href: "https://page.test/app/" } });
  try {
    await new Comfyline({ url: "https://page.test/proxy/", apiKey: null, fetch }).usage();
    assert.equal(requests[0]!.url.pathname, "/proxy/api/v1/usage");
    new Comfyline({ url: "/proxy", apiKey: null });
  } finally {
    Reflect.deleteProperty(globalThis, "location");
  }
});

test("a key that would leave the machine without TLS is warned of", (t) => {
  const warn = t.mock.method(console, "warn", () => {});
  for (const url of [
    "http://127.0.0.1:4566",
    "http://localhost",
    "http://[::1]:1",
    "https://a.test",
  ]) {
    new Comfyline({ url, apiKey: KEY });
  }
  assert.equal(warn.mock.callCount(), 0);
  new Comfyline({ url: "http://10.0.0.1", apiKey: KEY });
  assert.match(String(warn.mock.calls[0]!.arguments[0]), /10\.0\.0\.1 without encryption/);
});

test("a key may be a function that is asked for each try, or null where a proxy adds it", async () => {
  const keys = inTurn(["first", "second"]);
  const { fetch, requests } = service(inTurn([{ status: 503 }, USAGE]));
  await clientOf({ fetch, apiKey: async () => keys(), retries: { tries: 2 } }).usage();
  await clientOf({ fetch, apiKey: null }).usage();
  const sent = requests.map(({ headers }) => headers.get("authorization"));
  assert.deepEqual(sent, ["Bearer first", "Bearer second", null]);
});

test("a wrong job id is not sent", async () => {
  const { fetch, requests } = service(() => USAGE);
  const client = clientOf({ fetch });
  for (const id of ["", "x", "../keys", `${JOB}\n`, `${JOB}?purge=true`, JOB.toUpperCase()]) {
    assert.throws(() => client.job(id), TypeError);
    assert.throws(() => client.events([id]), TypeError);
    assert.throws(() => jobPath(id), TypeError);
  }
  assert.deepEqual(requests, []);
});

test("the exported names are these", () => {
  assert.deepEqual(Object.keys(index).sort(), [
    "ApiError",
    "Comfyline",
    "ComfylineError",
    "Conflict",
    "DownloadFailed",
    "Forbidden",
    "InvalidRequest",
    "JobCanceled",
    "JobExpired",
    "JobFailed",
    "JobNotSucceeded",
    "NotConfigured",
    "NotFound",
    "RateLimited",
    "ServiceUnavailable",
    "SubscriptionRefused",
    "TransportFailed",
    "UNKNOWN",
    "Unauthorized",
    "UnexpectedAnswer",
    "UploadFailed",
    "WaitTimedOut",
    "parseJson",
    "stateAfter",
    "writeJson",
  ]);
});

// --- signals and timeouts -------------------------------------------------------------------------

test("an aborted call throws the signal's reason and is not repeated", async () => {
  const leaving = new AbortController();
  const { fetch, requests } = service(() => {
    leaving.abort(new Error("left"));
    return USAGE;
  });
  const client = clientOf({ fetch, retries: { tries: 5 } });
  await assert.rejects(client.usage({ signal: leaving.signal }), /left/);
  await assert.rejects(client.get(JOB, { signal: leaving.signal }), /left/);
  assert.equal(requests.length, 1);
});

test("an abort ends the wait between two tries", async () => {
  const leaving = new AbortController();
  const { fetch } = service(() => {
    setTimeout(() => leaving.abort(new Error("left")), 5);
    return { status: 429, headers: { "retry-after": "50" } };
  });
  const client = clientOf({ fetch, retries: { tries: 5 } });
  await assert.rejects(client.usage({ signal: leaving.signal }), /left/);
});

test("a try that takes too long is repeated, and in the end TransportFailed", async () => {
  const never = ((_url: unknown, { signal }: RequestInit) =>
    new Promise((_, reject) => {
      signal!.addEventListener("abort", () => reject(signal!.reason as Error));
    })) as typeof fetch;
  const client = clientOf({ fetch: never, timeoutSeconds: 0.01, retries: { tries: 2 } });
  await assert.rejects(client.usage(), (error: Error) => {
    assert.ok(error instanceof TransportFailed);
    assert.equal(error.message, `GET ${URL_}/api/v1/usage: no response within 0.01 s`);
    return true;
  });
});

test("run throws the error of a job that did not succeed", async () => {
  const failed = {
    ...RUNNING,
    status: "failed",
    error: { type: "node_error", message: "no", node_id: "3" },
  };
  const { fetch } = service(({ method, url }) => {
    if (url.pathname.endsWith("/ws-tickets")) return { body: { ticket: "t" } };
    return { body: method === "POST" ? { job_id: JOB } : failed };
  });
  await assert.rejects(clientOf({ fetch }).run({ prompt: "a fox" }), (error: Error) => {
    assert.ok(error instanceof index.JobFailed && error instanceof index.JobNotSucceeded);
    assert.equal(error.message, `job ${JOB} failed: no (node_error)`);
    assert.equal(error.job.error?.node_id, "3");
    return true;
  });
});

// --- sockets --------------------------------------------------------------------------------------

test("each socket is opened with a pass of its own, at the address that came with it", async () => {
  let passes = 0;
  const { WebSocket, opened } = sockets(
    inTurn([
      (peer: Peer) => peer.drop(),
      async (peer: Peer) => {
        await peer.heard();
        [snapshot(2), DONE].forEach(peer.send);
      },
    ]),
  );
  const { fetch } = service(({ method }) => {
    if (method !== "POST") return { body: RUNNING };
    passes += 1;
    const url = passes === 1 ? undefined : `${WS_URL}?ticket=pass-2&stage=x`;
    return {
      status: 201,
      body: { ticket: `pass-${passes}`, expires_at: "2026-01-02T03:04:05Z", url },
    };
  });
  const client = clientOf({ fetch, WebSocket, wsUrl: "wss://set.test/live" });
  await all(client.job(JOB).events());
  assert.deepEqual(opened.map(String), [
    "wss://set.test/live?ticket=pass-1",
    `${WS_URL}?ticket=pass-2&stage=x`,
  ]);
});

test("a service that gives no pass now is polled, and one that refuses the key is an error", async () => {
  const ended = { ...RUNNING, status: "succeeded" };
  const busy = service(({ method }) => (method === "POST" ? { status: 429 } : { body: ended }));
  const { WebSocket, opened } = sockets(() => null);
  const messages = await all(clientOf({ fetch: busy.fetch, WebSocket }).job(JOB).events());
  assert.deepEqual(
    messages.map(({ type }) => type),
    ["status", "done"],
  );
  const refused = service(() => ({ status: 401, body: { message: "Unauthorized" } }));
  const client = clientOf({ fetch: refused.fetch, WebSocket });
  await assert.rejects(all(client.job(JOB).events()), Unauthorized);
  assert.deepEqual(opened, []);
});

/** When the client would open, read and so on, in 300 s by its own clock, where nothing changes. */
function schedule(opening: Opening): Record<string, number[]> {
  let clock = 0;
  const pace = { ...PACE, backoff: { baseSeconds: 8, capSeconds: 64 } };
  const script = new Following([JOB], pace, () => clock, 300).script();
  const times: Record<string, number[]> = {};
  assert.throws(() => {
    for (let turn = script.next(); !turn.done;) {
      const step = turn.value;
      (times[step.do] ??= []).push(Math.round(clock));
      if (step.do === "pause" || step.do === "receive") clock += step.seconds;
      turn = script.next({ open: opening, read: RUNNING }[step.do as string]);
    }
  }, WaitTimedOut);
  return times;
}

test("while sockets are refused, jobs are read evenly, and sockets are tried ever less often", () => {
  const { open = [], read = [] } = schedule("failed");
  assert.deepEqual(
    read,
    Array.from({ length: 151 }, (_, n) => n * 2),
  ); // each 2 s
  assert.ok(open.length >= 4 && open.length < 60, `${open.length} sockets`);
});

test("where there are no sockets, only reads are made", () => {
  const { open, read = [] } = schedule("never");
  assert.deepEqual([open, read.length], [[0], 151]);
});

test("on an open socket that is silent, the job is read each 30 s, and the socket is kept", () => {
  const { open, read, close } = schedule("open");
  // The first read brings the first state: the socket has missed it, so another one is opened.
  assert.deepEqual(open!.length, 2);
  assert.deepEqual(read, [30, ...read!.slice(1)]);
  const waits = read!.slice(2, -1).map((time, n) => time - read![n + 1]!); // the last is the end's
  assert.deepEqual(new Set(waits), new Set([30]));
  assert.equal(close!.length, 2);
});

test("reads may fail for as long as an outage, and then their error is thrown", () => {
  let clock = 0;
  const pace = { ...PACE, outageSeconds: 60 };
  const script = new Following([JOB], pace, () => clock).script();
  assert.throws(() => {
    for (let turn = script.next(); !turn.done;) {
      const step = turn.value;
      if (step.do === "pause") clock += step.seconds;
      const isRead = step.do === "read";
      turn = isRead ? script.throw(new TransportFailed("down")) : script.next("never");
    }
  }, TransportFailed);
  assert.equal(clock, 62); // the first read after 60 s
});

test("after a socket that was open, the wait is random again, so that clients come back apart", () => {
  const pace = { ...PACE, backoff: { baseSeconds: 0, capSeconds: 0 } };
  const script = new Following([JOB], pace, () => 0).script();
  const openings = inTurn(["failed", "open"]);
  const waits: number[] = [];
  for (let turn = script.next(); waits.length < 2;) {
    const step = turn.value as Step;
    if (step.do === "pause") waits.push(step.seconds);
    if (step.do === "receive") turn = script.throw(new SocketLost("closed"));
    else
      turn = script.next(
        step.do === "open" ? openings() : step.do === "read" ? RUNNING : undefined,
      );
  }
  assert.deepEqual(waits, [PACE.pollSeconds, 0]);
});

test("a socket that is left for a temporary error is closed", async () => {
  const closed: unknown[] = [];
  const scripts = inTurn([
    async (peer: Peer) => {
      await peer.heard();
      peer.send({ type: "error", code: "unavailable", message: "Later." });
      closed.push(await peer.heard());
    },
    async (peer: Peer) => {
      await peer.heard();
      [snapshot(2), DONE].forEach(peer.send);
      closed.push(await peer.heard());
    },
  ]);
  const { fetch } = live(() => {});
  await all(
    clientOf({ fetch, WebSocket: sockets(scripts).WebSocket })
      .job(JOB)
      .events(),
  );
  await new Promise(setImmediate);
  assert.deepEqual(closed, [undefined, undefined]);
});

test("without a WebSocket, as in Node 20, the job is polled and no pass is asked for", async () => {
  const { fetch, requests } = service(
    inTurn([{ body: RUNNING }, { body: { ...RUNNING, status: "canceled", version: 2 } }]),
  );
  const own = globalThis.WebSocket;
  Reflect.deleteProperty(globalThis, "WebSocket");
  try {
    const messages = await all(clientOf({ fetch }).job(JOB).events());
    assert.deepEqual(
      messages.map(({ version }) => version),
      [1, 2, 2],
    );
  } finally {
    if (own) globalThis.WebSocket = own;
  }
  assert.deepEqual(new Set(requests.map(({ method }) => method)), new Set(["GET"]));
});

test("a WebSocket that cannot even be made leads to polling", async () => {
  const forbidden = function () {
    throw new Error("Content-Security-Policy");
  } as unknown as typeof WebSocket;
  const { fetch } = service(({ method }) =>
    method === "POST" ? SOCKET_PASS : { body: { ...RUNNING, status: "succeeded" } },
  );
  const messages = await all(clientOf({ fetch, WebSocket: forbidden }).job(JOB).events());
  assert.equal(messages.at(-1)!.type, "done");
});

test("the client pings a socket that has nothing to say", async () => {
  const heard: unknown[] = [];
  const { fetch, WebSocket } = live(async (peer) => {
    heard.push(await peer.heard());
    peer.send(snapshot(1));
    heard.push(await peer.heard());
    peer.send({ type: "pong" });
    peer.send(DONE);
  });
  await all(
    clientOf({ fetch, WebSocket, pace: { pingSeconds: 0.01 } })
      .job(JOB)
      .events(),
  );
  assert.deepEqual(heard, [{ action: "subscribe", job_id: JOB }, { action: "ping" }]);
});

test("a loop that is left closes the socket", async () => {
  let closed: unknown = "open";
  const { fetch, WebSocket } = live(async (peer) => {
    await peer.heard();
    peer.send(snapshot(1));
    closed = await peer.heard();
  });
  for await (const _ of clientOf({ fetch, WebSocket }).job(JOB).events()) break;
  await new Promise(setImmediate);
  assert.equal(closed, undefined);
});

test("an abort ends the following and closes the socket", async () => {
  const leaving = new AbortController();
  let closed: unknown = "open";
  const { fetch, WebSocket } = live(async (peer) => {
    await peer.heard();
    peer.send(snapshot(1));
    setTimeout(() => leaving.abort(new Error("left")), 5);
    closed = await peer.heard();
  });
  const events = clientOf({ fetch, WebSocket }).job(JOB).events({ signal: leaving.signal });
  await assert.rejects(all(events), /left/);
  await new Promise(setImmediate);
  assert.equal(closed, undefined);
});

test("a wait ends in time, with and without a socket", async () => {
  const { fetch, WebSocket } = live(async (peer) => {
    await peer.heard();
    peer.send(snapshot(1));
  });
  const polled = service(({ method }) => ({ body: method === "POST" ? { ticket: "t" } : RUNNING }));
  for (const options of [
    { fetch, WebSocket },
    { fetch: polled.fetch, WebSocket },
  ]) {
    const began = performance.now();
    await assert.rejects(clientOf(options).job(JOB).wait({ timeoutSeconds: 0.05 }), WaitTimedOut);
    assert.ok(performance.now() - began < 5000);
  }
});

test("messages that come before the caller is ready are kept", async () => {
  const { fetch, WebSocket } = live(async (peer) => {
    await peer.heard();
    [snapshot(1), { ...snapshot(2), snapshot: null }, DONE].forEach(peer.send);
    peer.drop();
  });
  const versions: number[] = [];
  for await (const { version } of clientOf({ fetch, WebSocket }).events([JOB])) {
    await new Promise(setImmediate);
    versions.push(version);
  }
  assert.deepEqual(versions, [1, 2, 9]);
  assert.notEqual(JOB, OTHER);
});

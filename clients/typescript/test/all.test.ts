/** Following all jobs: subscriptions, reconnects and refusals. */

import assert from "node:assert/strict";
import test from "node:test";
import type { AllJobsMessage } from "../src/index.js";
import { SubscriptionRefused, Unauthorized } from "../src/index.js";
import { JOB, OTHER, SOCKET_PASS, clientOf, service, sockets } from "./fakes.js";
import type { Peer } from "./fakes.js";

const SUBSCRIBE = { action: "subscribe", jobs: "mine" };

function subscribed(seconds: number) {
  return { type: "subscribed", jobs: "mine", repeat_after_seconds: seconds };
}

function status(job_id: string, version: number) {
  const message = { type: "status", job_id, version, part: 0, status: "running" };
  return { ...message, progress: 0.5, attempt: 1 };
}

const { fetch } = service(() => SOCKET_PASS);

/** What is told until there are so many messages, as types and versions. */
async function told(messages: AsyncIterable<AllJobsMessage>, count: number): Promise<unknown[]> {
  const found: unknown[] = [];
  for await (const message of messages) {
    found.push("version" in message ? [message.job_id, message.version] : message.type);
    if (found.length === count) break;
  }
  return found;
}

test("changes of all jobs are told after the subscription is confirmed", async () => {
  const { WebSocket } = sockets(() => async (peer: Peer) => {
    assert.deepEqual(await peer.heard(), SUBSCRIBE);
    peer.send(status(JOB, 3));
    peer.send(subscribed(40));
    peer.send("{ broken");
    peer.send({ type: "pong" });
    peer.send(status(OTHER, 1));
  });
  const messages = clientOf({ fetch, WebSocket }).allEvents();
  assert.deepEqual(await told(messages, 3), [[JOB, 3], "connected", [OTHER, 1]]);
});

test("the client subscribes a second time when the service asks for it, and no more", async () => {
  const heard: unknown[] = [];
  const { WebSocket } = sockets(() => async (peer: Peer) => {
    for (const _ of [1, 2]) {
      heard.push(await peer.heard());
      peer.send(subscribed(0.01));
    }
    heard.push(await peer.heard());
    peer.send(status(JOB, 1));
  });
  const pace = { pingSeconds: 0.05 };
  const messages = clientOf({ fetch, WebSocket, pace }).allEvents();
  assert.deepEqual(await told(messages, 3), ["connected", "connected", [JOB, 1]]);
  assert.deepEqual(heard, [SUBSCRIBE, SUBSCRIBE, { action: "ping" }]);
});

test("a lost socket is told and opened again", async () => {
  let opened = 0;
  const { WebSocket } = sockets(() => {
    if (++opened === 2) return null; // refused
    return async (peer: Peer) => {
      await peer.heard();
      peer.send(subscribed(40));
      if (opened === 1) peer.drop();
    };
  });
  const messages = clientOf({ fetch, WebSocket }).allEvents();
  assert.deepEqual(await told(messages, 4), ["connected", "lost", "lost", "connected"]);
});

test("a client may subscribe again after a post", async () => {
  const { WebSocket } = sockets(() => async (peer: Peer) => {
    await peer.heard();
    peer.send(subscribed(40));
    assert.deepEqual(await peer.heard(), SUBSCRIBE);
    peer.send(status(JOB, 1));
  });
  const messages = clientOf({ fetch, WebSocket }).allEvents();
  const found: unknown[] = [];
  for await (const message of messages) {
    found.push(message.type);
    if (found.length === 2) break;
    await messages.again();
  }
  assert.deepEqual(found, ["connected", "status"]);
  await messages.again(); // the socket is closed: nothing happens
});

test("a client follows older jobs too, and a refusal of one of them does not end it", async () => {
  const heard: unknown[] = [];
  const { WebSocket } = sockets(() => async (peer: Peer) => {
    await peer.heard();
    peer.send(subscribed(40));
    for (const _ of [1, 2, 3]) heard.push(await peer.heard());
    peer.send({ type: "error", code: "job_not_found", message: "There is no job.", job_id: OTHER });
    peer.send(status(JOB, 1));
  });
  const messages = clientOf({ fetch, WebSocket }).allEvents();
  const found: unknown[] = [];
  for await (const message of messages) {
    found.push(message.type);
    if (found.length === 2) break;
    await messages.follow(JOB);
    await messages.follow(OTHER);
    await messages.unfollow(OTHER);
  }
  assert.deepEqual(found, ["connected", "status"]);
  assert.deepEqual(heard, [
    { action: "subscribe", job_id: JOB },
    { action: "subscribe", job_id: OTHER },
    { action: "unsubscribe", job_id: OTHER },
  ]);
});

test("a refused key and a refused subscription end it", async () => {
  const unknown = service(() => ({ status: 401 }));
  const { WebSocket } = sockets(() => async (peer: Peer) => {
    await peer.heard();
    peer.send({ type: "error", code: "key_void", message: "The key was disabled." });
  });
  await assert.rejects(
    told(clientOf({ fetch: unknown.fetch, WebSocket }).allEvents(), 1),
    Unauthorized,
  );
  await assert.rejects(told(clientOf({ fetch, WebSocket }).allEvents(), 1), SubscriptionRefused);
});

test("an aborted signal ends it", async () => {
  const leaving = new AbortController();
  const { WebSocket } = sockets(() => async (peer: Peer) => {
    await peer.heard();
    peer.send(subscribed(40));
    leaving.abort();
  });
  const messages = clientOf({ fetch, WebSocket }).allEvents({ signal: leaving.signal });
  await assert.rejects(told(messages, 9), { name: "AbortError" });
});

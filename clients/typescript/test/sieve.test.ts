/** Each message passes once and in order, wherever connections break. */

import assert from "node:assert/strict";
import test from "node:test";
import { Sieve } from "../src/core/sieve.js";
import { stateAfter, UNKNOWN } from "../src/index.js";
import type { JobMessage, Status } from "../src/index.js";
import { JOB } from "./fakes.js";

function status(version: number, state: Status, more: object = {}): JobMessage {
  const message = { type: "status", job_id: JOB, version, part: 0, status: state };
  return { ...message, progress: 0.1, attempt: 1, ...more } as JobMessage;
}

function progress(version: number): JobMessage {
  return { type: "progress", job_id: JOB, version, part: 0, progress: 0.5, preview: `p${version}` };
}

const DONE: JobMessage = { type: "done", job_id: JOB, version: 7, part: 1, status: "succeeded" };
const SENT = [
  status(1, "queued"),
  status(2, "running"),
  progress(3),
  status(4, "queued", { reason: "interrupted" }),
  status(5, "running", { attempt: 2 }),
  progress(6),
  status(7, "succeeded"),
  DONE,
];

/** Both lists' messages; those of one list keep their order. */
function merged<Item>(first: Item[], second: Item[]): Item[] {
  if (!first.length || !second.length) return [...first, ...second];
  const [from, other] = Math.random() < 0.5 ? [first, second] : [second, first];
  return [from[0]!, ...merged(from.slice(1), other)];
}

test("connections break anywhere, and no state is missed, doubled or out of order", () => {
  for (let round = 0; round < 2000; round++) {
    const sieve = new Sieve(JOB);
    const passed: JobMessage[] = [];
    while (!sieve.ended) {
      sieve.subscribed();
      const since = sieve.version;
      const now = Math.max(since, 1) + Math.floor(Math.random() * (8 - Math.max(since, 1)));
      const missed = SENT.filter(
        (m) => m.type === "status" && since < m.version && m.version < now,
      );
      const at = SENT.find((m) => m.version === now)!;
      const state = at.type === "status" ? at.status : "running";
      const answer = [
        ...missed,
        status(now, state, { snapshot: true }),
        ...(now === 7 ? [DONE] : []),
      ];
      const frames = merged(
        answer,
        SENT.filter((m) => m.version > now),
      );
      const cut = Math.floor(Math.random() * (frames.length + 1));
      for (const frame of frames.slice(0, cut)) passed.push(...sieve.take(frame));
    }
    const numbers = passed.map((m) => m.version * 10 + m.part);
    assert.deepEqual(
      numbers,
      [...new Set(numbers)].sort((a, b) => a - b),
    );
    const states = SENT.filter((m) => m.type === "status" && m.version >= passed[0]!.version);
    const versions = new Set(passed.map((m) => m.version));
    assert.deepEqual(
      states.filter((m) => !versions.has(m.version)),
      [],
    );
    assert.deepEqual(passed.at(-1), DONE);
  }
});

test("the state of a page follows the messages, and an interruption voids files", () => {
  const file: JobMessage = {
    type: "artifact",
    job_id: JOB,
    version: 3,
    part: 1,
    number: 0,
    url: "https://files.test/0",
    name: "a.png",
    kind: "image",
    node: "9",
    attempt: 1,
  };
  let state = UNKNOWN;
  const seen = [...SENT.slice(0, 3), file, ...SENT.slice(3)].map((message) => {
    state = stateAfter(state, message);
    return [state.status, state.preview, state.artifacts.length, state.reason];
  });
  assert.deepEqual(seen, [
    ["queued", undefined, 0, undefined],
    ["running", undefined, 0, undefined],
    ["running", "p3", 0, undefined],
    ["running", "p3", 1, undefined],
    ["queued", "p3", 0, "interrupted"],
    ["running", "p3", 0, undefined],
    ["running", "p6", 0, undefined],
    ["succeeded", "p6", 0, undefined],
    ["succeeded", "p6", 0, undefined],
  ]);
  assert.deepEqual([state.done, UNKNOWN.artifacts], [DONE, []]);
});

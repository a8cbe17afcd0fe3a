/** What the live socket brings: messages of jobs, and errors that end a subscription. */

import { SubscriptionRefused } from "./errors.js";
import { isObject, parseJson } from "./json.js";
import { END_STATUS, STATUS } from "./wire.js";
import type { JobMessage } from "./wire.js";

/** The socket cannot be opened, has broken, or the service cannot serve it for now. */
export class SocketLost extends Error {}

// After an error message with one of these codes the next connection may work. All others are final.
const TEMPORARY_CODES = ["unavailable", "internal_error", "sockets_disabled", "too_many_requests"];

type Check = (value: unknown) => boolean;

const isText: Check = (value) => typeof value === "string";
const isNumber: Check = (value) => typeof value === "number";
const isWhole: Check = (value) => Number.isSafeInteger(value);
const oneOf =
  (values: readonly string[]): Check =>
  (value) =>
    values.includes(value as string);

// The fields that each message needs to be understood.
const COMMON: Record<string, Check> = { job_id: isText, version: isWhole };
const FIELDS: Record<JobMessage["type"], Record<string, Check>> = {
  status: { status: oneOf(STATUS), progress: isNumber, attempt: isWhole },
  progress: { progress: isNumber },
  artifact: {
    number: isWhole,
    url: isText,
    name: isText,
    kind: isText,
    node: isText,
    attempt: isWhole,
  },
  done: { status: oneOf(END_STATUS) },
};

/**
 * The message in a frame; undefined for a pong, for types that only a newer service has, and for
 * what cannot be understood.
 *
 * @throws SocketLost the service or the gateway has a temporary failure.
 * @throws SubscriptionRefused the service will not serve the subscription.
 */
export function jobMessage(frame: string): JobMessage | undefined {
  const body = parsed(frame);
  if (!isObject(body)) return undefined;
  const { type, code, message } = body;
  if (type === "error" && typeof code === "string" && typeof message === "string") {
    if (TEMPORARY_CODES.includes(code)) throw new SocketLost(code);
    throw new SubscriptionRefused(code, message);
  }
  // When an integration fails, API Gateway itself sends a message, in its own form without a type:
  // {"message": "Internal server error", "connectionId": ..., "requestId": ...}
  if (!("type" in body) && "message" in body) throw new SocketLost(String(message));
  const fields = Object.hasOwn(FIELDS, String(type)) && FIELDS[type as JobMessage["type"]];
  if (!fields || !hasAll(body, COMMON) || !hasAll(body, fields)) return undefined;
  return { ...body, part: isWhole(body["part"]) ? body["part"] : 0 } as JobMessage;
}

/** When to subscribe again, if the frame confirms a subscription to all jobs. */
export function repeatAfterSeconds(frame: string): number | undefined {
  const body = parsed(frame);
  if (!isObject(body) || body["type"] !== "subscribed") return undefined;
  const seconds = body["repeat_after_seconds"];
  return typeof seconds === "number" ? seconds : undefined;
}

/** Whether the frame refuses a message about one job, which does not concern the others. */
export function refusesOneJob(frame: string): boolean {
  const body = parsed(frame);
  return isObject(body) && body["type"] === "error" && typeof body["job_id"] === "string";
}

function hasAll(body: Record<string, unknown>, fields: Record<string, Check>): boolean {
  return Object.entries(fields).every(([name, check]) => check(body[name]));
}

function parsed(frame: string): unknown {
  try {
    return parseJson(frame);
  } catch {
    return undefined; // a truncated frame: the snapshot of the next subscription makes up for it
  }
}

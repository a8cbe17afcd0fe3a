/** The nodes of a workflow, and how far a job is with each of them. */

import type { JobView } from "@comfyline/client";
import type { LiveJob } from "../live.js";

// A job may have any graph. More nodes are neither drawn nor listed.
export const MOST_NODES = 1000;
// Links of all nodes. A workflow of a few MB may have half a million, which no browser draws.
export const MOST_LINKS = 5000;
const MOST_TITLE = 60;

export interface Node {
  id: string;
  type: string;
  title: string;
  /** The nodes whose outputs it takes, each once. */
  sources: string[];
}

export interface Nodes {
  byId: Map<string, Node>;
  /** Whether the workflow has more than MOST_LINKS links, of which the rest was left out. */
  lacksLinks: boolean;
}

/** The first MOST_NODES nodes, with their first MOST_LINKS links. Nothing that a graph contains is
 * trusted. */
export function nodesOf(workflow: object): Nodes {
  const first = Object.entries(workflow).slice(0, MOST_NODES);
  const ids = new Set(first.map(([id]) => id));
  const nodes = first.map(([id, node]) => nodeOf(id, node, ids));
  let left = MOST_LINKS;
  let lacksLinks = false;
  for (const node of nodes) {
    lacksLinks ||= node.sources.length > left;
    node.sources.splice(left);
    left -= node.sources.length;
  }
  return { byId: new Map(nodes.map((node) => [node.id, node])), lacksLinks };
}

/** How many links the nodes have. */
export function linksOf(nodes: Map<string, Node>): number {
  return [...nodes.values()].reduce((sum, { sources }) => sum + sources.length, 0);
}

function nodeOf(id: string, value: unknown, ids: Set<string>): Node {
  const { class_type: type, inputs, _meta: meta } = fields(value);
  const links = Object.values(fields(inputs))
    .filter((input): input is [string, unknown] => Array.isArray(input) && input.length === 2)
    .map(([source]) => String(source))
    .filter((source) => ids.has(source));
  const name = text(type) || "?";
  const title = text(fields(meta)["title"]) || name;
  return { id, type: name, title, sources: [...new Set(links)] };
}

function fields(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function text(value: unknown): string {
  if (typeof value !== "string") return "";
  return value.length > MOST_TITLE ? `${value.slice(0, MOST_TITLE)}…` : value;
}

export type NodeState = "waiting" | "running" | "done" | "cached" | "failed" | "unknown";

/**
 * The state of each node, as far as it is known. The service tells which node runs. All nodes that it
 * takes from, directly or not, have their outputs then.
 */
export function statesOf(
  nodes: Map<string, Node>,
  job: JobView & { live?: LiveJob },
): Map<string, NodeState> {
  const { status, cached, error } = job;
  if (status === "succeeded") return all(nodes, cached ? "cached" : "done");
  const current = job.live?.nodeId ?? job.progress_detail.node;
  const isRunning = status === "running" || status === "canceling";
  const states = all(nodes, status === "queued" || isRunning ? "waiting" : "unknown");
  if (status === "queued") return states;
  const last = error?.node_id ?? current;
  for (const id of [...sourcesOf(nodes, last), ...(job.live?.nodesSeen ?? [])])
    if (states.has(id)) states.set(id, "done");
  if (last && states.has(last)) {
    if (status === "failed") states.set(last, error?.node_id ? "failed" : "unknown");
    else states.set(last, isRunning ? "running" : "unknown");
  }
  return states;
}

function all(nodes: Map<string, Node>, state: NodeState): Map<string, NodeState> {
  return new Map([...nodes.keys()].map((id) => [id, state]));
}

/** Every node that `id` takes from, directly or not. A graph may have circles. */
function sourcesOf(nodes: Map<string, Node>, id: string | null | undefined): Set<string> {
  const found = new Set<string>();
  const open = [id];
  while (open.length) {
    for (const source of nodes.get(open.pop() ?? "")?.sources ?? []) {
      if (found.has(source)) continue;
      found.add(source);
      open.push(source);
    }
  }
  return found;
}

/** Where the nodes of a workflow are drawn: from left to right, each after those it takes from. */

import { Graph, layout as place } from "@dagrejs/dagre";
import { linksOf } from "./nodes.js";
import type { Node } from "./nodes.js";

export const WIDTH = 180;
export const HEIGHT = 52;
const GAP = 20;
const COLUMN_GAP = 60;
// Beyond these, the layout without crossings would take seconds: 0.5 s for 200 nodes with 300 links.
const MOST_NODES = 200;
const MOST_LINKS = 350;

export interface Placed {
  /** The left upper corners of the nodes. */
  places: Map<string, { x: number; y: number }>;
  width: number;
  height: number;
  /** The nodes are only sorted by their order. */
  isPlain: boolean;
}

export function placed(nodes: Map<string, Node>): Placed {
  const isLarge = nodes.size > MOST_NODES || linksOf(nodes) > MOST_LINKS;
  return isLarge ? inColumns(nodes) : inLayers(nodes);
}

function inLayers(nodes: Map<string, Node>): Placed {
  const graph = new Graph();
  graph.setGraph({ rankdir: "LR", nodesep: GAP, ranksep: COLUMN_GAP });
  graph.setDefaultEdgeLabel(() => ({}));
  // Names of nodes may be anything, and dagre keeps them as names of properties.
  const names = new Map([...nodes.keys()].map((id, n) => [id, `n${n}`]));
  for (const name of names.values()) graph.setNode(name, { width: WIDTH, height: HEIGHT });
  for (const { id, sources } of nodes.values())
    for (const source of sources) graph.setEdge(names.get(source)!, names.get(id)!);
  place(graph);
  const places = new Map<string, { x: number; y: number }>();
  for (const [id, name] of names) {
    const { x, y } = graph.node(name) as { x: number; y: number };
    places.set(id, { x: x - WIDTH / 2, y: y - HEIGHT / 2 });
  }
  return { places, ...sizeOf(places), isPlain: false };
}

/** A column for each step of the order. Nodes of a circle have no order; they come last. */
function inColumns(nodes: Map<string, Node>): Placed {
  const columns: string[][] = [];
  const done = new Set<string>();
  let open = [...nodes.values()];
  while (open.length) {
    const ready = open.filter(({ sources }) => sources.every((source) => done.has(source)));
    const next = ready.length ? ready : open;
    columns.push(next.map(({ id }) => id));
    next.forEach(({ id }) => done.add(id));
    open = open.filter(({ id }) => !done.has(id));
  }
  const places = new Map<string, { x: number; y: number }>();
  columns.forEach((column, x) =>
    column.forEach((id, y) =>
      places.set(id, { x: x * (WIDTH + COLUMN_GAP), y: y * (HEIGHT + GAP) }),
    ),
  );
  return { places, ...sizeOf(places), isPlain: true };
}

function sizeOf(places: Placed["places"]): { width: number; height: number } {
  let width = 0;
  let height = 0;
  for (const { x, y } of places.values()) {
    width = Math.max(width, x + WIDTH);
    height = Math.max(height, y + HEIGHT);
  }
  return { width, height };
}

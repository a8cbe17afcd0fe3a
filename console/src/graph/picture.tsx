import { useArea } from "../texts/index.js";
import { graphTexts } from "../texts/graph.js";
import { HEIGHT, WIDTH } from "./layout.js";
import type { Placed } from "./layout.js";
import type { Node, NodeState } from "./nodes.js";
import { useWindow } from "./window.js";

const MOST_LETTERS = 23; // of a title, so that it fits
// The state is also told by a sign, for those who do not see its colour.
const SIGNS: Record<NodeState, string> = {
  waiting: "",
  unknown: "",
  running: "▶",
  done: "✓",
  cached: "⟲",
  failed: "✕",
};

interface Props {
  nodes: Map<string, Node>;
  placed: Placed;
  states: Map<string, NodeState>;
  /** How much of the running node is done, 0 to 1. */
  part: number | undefined;
}

export function GraphPicture({ nodes, placed, states, part }: Props) {
  const texts = useArea(graphTexts);
  const { places, width, height } = placed;
  const { shown, handlers, showAll, larger, smaller } = useWindow(width, height);
  return (
    <div className="graph">
      <svg
        {...handlers}
        className="graph-picture"
        role="img"
        tabIndex={0}
        aria-label={`${texts.picture}. ${texts.keys}`}
        viewBox={`${shown.x} ${shown.y} ${shown.width} ${shown.height}`}
      >
        {[...nodes.values()].flatMap(({ id, sources }) =>
          sources.map((source) => (
            <path
              key={`${source}/${id}`}
              className={states.get(source) === "done" ? "link done" : "link"}
              d={curve(places.get(source)!, places.get(id)!)}
            />
          )),
        )}
        {[...nodes.values()].map((node) => {
          const { x, y } = places.get(node.id)!;
          const state = states.get(node.id) ?? "unknown";
          return (
            <g key={node.id} className={`node ${state}`} transform={`translate(${x} ${y})`}>
              <title>{`${node.title} (${node.type}, ${node.id}): ${texts.states[state]}`}</title>
              <rect width={WIDTH} height={HEIGHT} rx={6} />
              {state === "running" && part !== undefined && (
                <rect className="part" width={WIDTH * part} y={HEIGHT - 4} height={4} />
              )}
              <text x={10} y={22}>
                {short(node.title)}
              </text>
              <text className="type" x={10} y={40}>
                {short(`${node.id} · ${node.type}`)}
              </text>
              <text className="sign" x={WIDTH - 10} y={40} textAnchor="end">
                {SIGNS[state]}
              </text>
            </g>
          );
        })}
      </svg>
      <div className="graph-tools">
        <button type="button" aria-label={texts.larger} onClick={larger}>
          +
        </button>
        <button type="button" aria-label={texts.smaller} onClick={smaller}>
          −
        </button>
        <button type="button" onClick={showAll}>
          {texts.whole}
        </button>
      </div>
    </div>
  );
}

function short(text: string): string {
  const letters = [...text];
  return letters.length > MOST_LETTERS ? `${letters.slice(0, MOST_LETTERS - 1).join("")}…` : text;
}

type Point = { x: number; y: number };

function curve(from: Point, to: Point): string {
  const [x1, y1, x2, y2] = [from.x + WIDTH, from.y + HEIGHT / 2, to.x, to.y + HEIGHT / 2];
  const bend = Math.max(Math.abs(x2 - x1) / 2, 30);
  return `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
}

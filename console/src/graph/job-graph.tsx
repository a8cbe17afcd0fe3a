/** The workflow of a job: a picture of its nodes with the progress on it, and the same as a list. */

import type { JobView } from "@comfyline/client";
import { queryOptions, useQuery } from "@tanstack/react-query";
import type { Comfyline } from "@comfyline/client";
import { useMemo } from "react";
import { fileSize } from "../format.js";
import type { LiveJob } from "../live.js";
import { Trouble } from "../parts/trouble.js";
import { useSession } from "../session.js";
import { graphTexts } from "../texts/graph.js";
import { useArea, useLanguage, useTexts } from "../texts/index.js";
import { placed } from "./layout.js";
import { MOST_LINKS, MOST_NODES, nodesOf, statesOf } from "./nodes.js";
import type { Node, NodeState } from "./nodes.js";
import { GraphPicture } from "./picture.js";
import "./graph.css";

function graphQuery(client: Comfyline, jobId: string) {
  return queryOptions({
    queryKey: ["graph", jobId],
    queryFn: ({ signal }) => client.graph(jobId, { signal }),
    staleTime: Infinity, // a job keeps its graph
  });
}

type Job = JobView & { live?: LiveJob };

export default function JobGraph({ job }: { job: Job }) {
  const common = useTexts();
  const texts = useArea(graphTexts);
  const language = useLanguage();
  const { client } = useSession();
  const { data, error, refetch } = useQuery(graphQuery(client, job.job_id));
  if (error) return <Trouble error={error} again={() => void refetch()} />;
  if (!data) return <p className="muted">{common.loading}</p>;
  if (!data.workflow)
    return <p className="muted">{texts.tooLarge(fileSize(data.bytes, language))}</p>;
  return <Graph job={job} workflow={data.workflow} />;
}

function Graph({ job, workflow }: { job: Job; workflow: object }) {
  const texts = useArea(graphTexts);
  const { byId: nodes, lacksLinks } = useMemo(() => nodesOf(workflow), [workflow]);
  const places = useMemo(() => placed(nodes), [nodes]);
  const states = statesOf(nodes, job);
  const total = Object.keys(workflow).length;
  const isOver = job.status === "succeeded";
  const { nodes_done: told = 0 } = job.progress_detail;
  const seen = [...states.values()].filter((state) => state === "done").length;
  const done = isOver ? total : Math.min(Math.max(told, seen), total);
  const { nodes_cached: cached = 0 } = job;
  return (
    <>
      <p className="muted">
        {texts.summary(total, done)}
        {cached > 0 && ` · ${texts.cached(cached)}`}
      </p>
      <GraphPicture nodes={nodes} placed={places} states={states} part={partOf(job)} />
      {places.isPlain && <p className="muted">{texts.plain}</p>}
      {total > MOST_NODES && <p className="muted">{texts.cut(MOST_NODES)}</p>}
      {lacksLinks && <p className="muted">{texts.cutLinks(MOST_LINKS)}</p>}
      <NodeList nodes={nodes} states={states} />
    </>
  );
}

function partOf({ live, progress_detail: read }: Job): number | undefined {
  const { step, steps } = live?.steps ?? read;
  return step && steps ? Math.min(step / steps, 1) : undefined;
}

function NodeList(props: { nodes: Map<string, Node>; states: Map<string, NodeState> }) {
  const { nodes, states } = props;
  const texts = useArea(graphTexts);
  const name = (id: string) => `${nodes.get(id)!.title} (${id})`;
  return (
    <details>
      <summary>{texts.list}</summary>
      <ul className="nodes">
        {[...nodes.values()].map(({ id, type, title, sources }) => (
          <li key={id}>
            <strong>{title}</strong>{" "}
            <code>
              {id} {type}
            </code>
            : {texts.states[states.get(id) ?? "unknown"]}
            {sources.length > 0 && (
              <span className="muted"> · {texts.takes(sources.map(name).join(", "))}</span>
            )}
          </li>
        ))}
      </ul>
    </details>
  );
}

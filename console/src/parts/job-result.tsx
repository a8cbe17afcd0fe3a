import type { ArtifactView, JobView } from "@comfyline/client";
import { useQuery } from "@tanstack/react-query";
import { Suspense, lazy, useState } from "react";
import { artifactsQuery } from "../queries.js";
import { useSession } from "../session.js";
import { useTexts } from "../texts/index.js";
import { Files } from "./files.js";
import { pretty } from "./request-code.js";
import { Trouble } from "./trouble.js";

const DownloadAll = lazy(() => import("../files/download-all.js"));

/** What a job has made: files, warnings and values. */
export function JobResult({
  job,
  result,
}: {
  job: JobView;
  result: NonNullable<JobView["result"]>;
}) {
  const texts = useTexts();
  const { client } = useSession();
  const [isAll, setAll] = useState(false);
  const all = useQuery({ ...artifactsQuery(client, job.job_id), enabled: isAll });
  const files: ArtifactView[] = all.data ?? result.artifacts;
  const { values = {}, warnings = [], artifacts_total = 0 } = result;
  return (
    <section aria-labelledby="files">
      <h2 id="files">{texts.files}</h2>
      {result.partial && <p className="warning">{texts.partial}</p>}
      {files.length ? (
        <Files jobId={job.job_id} files={files} />
      ) : (
        <p className="muted">{result.empty_reason ?? texts.noFiles}</p>
      )}
      {artifacts_total > 1 && (
        <Suspense fallback={null}>
          <DownloadAll jobId={job.job_id} files={files} total={artifacts_total} />
        </Suspense>
      )}
      {artifacts_total > files.length && (
        <p className="end">
          <button type="button" disabled={all.isFetching} onClick={() => setAll(true)}>
            {texts.moreFiles}
          </button>{" "}
          <span className="muted">{texts.filesTotal(artifacts_total)}</span>
        </p>
      )}
      {all.error && <Trouble error={all.error} again={() => void all.refetch()} />}
      {warnings.length > 0 && (
        <>
          <h3>{texts.warnings}</h3>
          <ul>
            {warnings.map(({ type, message, node_id, node_type }, n) => (
              <li key={n}>
                <code>{type}</code> {message}
                {node_id && ` (${texts.node(node_id, node_type ?? "?")})`}
              </li>
            ))}
          </ul>
        </>
      )}
      {Object.keys(values).length > 0 && (
        <>
          <h3>{texts.values}</h3>
          <pre tabIndex={0} aria-label={texts.values}>
            {pretty(values)}
          </pre>
        </>
      )}
    </section>
  );
}

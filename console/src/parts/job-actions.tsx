import type { JobView } from "@comfyline/client";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { forgetJob, isOpen } from "../queries.js";
import { go, jobLink } from "../router.js";
import { useSession } from "../session.js";
import { useTexts } from "../texts/index.js";
import { Trouble } from "./trouble.js";

/** What can be done with a job. */
export function JobActions({ job }: { job: JobView }) {
  const texts = useTexts();
  const { client } = useSession();
  const queries = useQueryClient();
  const id = job.job_id;
  const cancel = useMutation({
    mutationFn: () => client.cancel(id),
    onSuccess: () => forgetJob(queries, id),
  });
  const retry = useMutation({
    mutationFn: () => client.retry(id),
    onSuccess: (next) => go(jobLink(next.id)),
  });
  const remove = useMutation({
    mutationFn: () => client.purge(id),
    onSuccess: () => {
      go("#/");
      queries.removeQueries({ queryKey: ["job", id] });
      forgetJob(queries, id);
    },
  });
  const [isAsking, setAsking] = useState(false);
  const canRetry = ["failed", "canceled", "expired"].includes(job.status);
  const isPending = cancel.isPending || retry.isPending || remove.isPending;
  const error = cancel.error ?? retry.error ?? remove.error;
  return (
    <>
      <div className="actions">
        {isOpen(job) && (
          <button
            type="button"
            disabled={isPending || job.status === "canceling"}
            onClick={() => cancel.mutate()}
          >
            {texts.cancel}
          </button>
        )}
        {canRetry && (
          <button
            type="button"
            className="primary"
            disabled={isPending}
            onClick={() => retry.mutate()}
          >
            {texts.retry}
          </button>
        )}
        {Object.keys(job.params).length > 0 && (
          <a className="button" href={`#/new?from=${encodeURIComponent(id)}`}>
            {texts.runAgain}
          </a>
        )}
        {!isOpen(job) && !isAsking && (
          <button type="button" disabled={isPending} onClick={() => setAsking(true)}>
            {texts.remove}
          </button>
        )}
      </div>
      {isAsking && (
        <div className="trouble" role="alert">
          <p>{texts.removeAsk}</p>
          <button
            type="button"
            className="danger"
            disabled={isPending}
            onClick={() => remove.mutate()}
          >
            {texts.remove}
          </button>{" "}
          <button type="button" onClick={() => setAsking(false)}>
            {texts.close}
          </button>
        </div>
      )}
      {error && <Trouble error={error} />}
    </>
  );
}

import type { JobView, SubmitRequest } from "@comfyline/client";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { canRetry, forgetJob, isOpen } from "../queries.js";
import { go, jobLink } from "../router.js";
import { useSession } from "../session.js";
import { useTexts } from "../texts/index.js";
import { useSubmit } from "./submit.js";
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
  const another = useSubmit();
  const hasParams = Object.keys(job.params).length > 0;
  const all = [cancel, retry, remove, another];
  const isPending = all.some((each) => each.isPending);
  const error = all.find((each) => each.error)?.error;
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
        {canRetry(job) && (
          <button
            type="button"
            className="primary"
            disabled={isPending}
            onClick={() => retry.mutate()}
          >
            {texts.retry}
          </button>
        )}
        {hasParams && (
          <button
            type="button"
            disabled={isPending}
            onClick={() => another.mutate({ request: withAnotherSeed(job) })}
          >
            {texts.anotherSeed}
          </button>
        )}
        {hasParams && (
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

/** The parameters of the job, for which the service draws a new seed. */
function withAnotherSeed({ params, metadata, priority }: JobView): SubmitRequest {
  const { seed: _, ...others } = params;
  const given = Object.entries(others).filter(([, value]) => value !== null);
  const about = Object.keys(metadata).length ? { metadata } : {};
  const request = { ...Object.fromEntries(given), ...about, priority, previews: true };
  return request as unknown as SubmitRequest;
}

import type { Job, SubmitRequest } from "@comfyline/client";
import { useMutation } from "@tanstack/react-query";
import { useRef } from "react";
import { go, jobLink } from "../router.js";
import { useSession } from "../session.js";
import { useTexts } from "../texts/index.js";
import { Trouble } from "./trouble.js";

/**
 * Sends a request and shows its job.
 *
 * The same request that is sent again after an error has the same idempotency key, so that an answer
 * that was lost makes no second job.
 */
export function useSubmit() {
  const { client, live } = useSession();
  const last = useRef({ intent: "", key: "" });
  return useMutation<Job, unknown, { request: SubmitRequest; files?: Record<string, File> }>({
    mutationFn: ({ request, files = {} }) => {
      const intent = intentOf(request, files);
      if (last.current.intent !== intent) last.current = { intent, key: crypto.randomUUID() };
      return client.submit(request, { files, idempotencyKey: last.current.key });
    },
    onSuccess: (job) => {
      last.current = { intent: "", key: "" };
      live.again();
      go(jobLink(job.id));
    },
  });
}

export type Submitting = ReturnType<typeof useSubmit>;

export function SubmitButton({ sending, isReady }: { sending: Submitting; isReady: boolean }) {
  const texts = useTexts();
  return (
    <>
      {sending.error ? <Trouble error={sending.error} /> : null}
      <button type="submit" className="primary" disabled={!isReady || sending.isPending}>
        {sending.isPending ? texts.submitting : texts.submit}
      </button>
    </>
  );
}

function intentOf(request: SubmitRequest, files: Record<string, File>): string {
  const chosen = Object.entries(files).map(([place, { name, size, lastModified }]) => [
    place,
    name,
    size,
    lastModified,
  ]);
  return JSON.stringify([request, chosen], (_, item: unknown) =>
    typeof item === "bigint" ? `${item}n` : item,
  );
}

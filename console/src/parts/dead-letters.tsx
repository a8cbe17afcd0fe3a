import type { DeadLetterView, RedriveAnswer } from "@comfyline/client";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { ago, when } from "../format.js";
import { deadLettersQuery } from "../operate.js";
import { useSession } from "../session.js";
import { operate } from "../texts/operate.js";
import { useArea, useLanguage, useTexts } from "../texts/index.js";
import { Columns } from "./columns.js";
import type { Column } from "./columns.js";
import { StatusBadge } from "./status.js";
import { Trouble } from "./trouble.js";
import "../operate.css";

/** The tickets that were delivered too often, and a button that handles them. */
export function DeadLetters() {
  const texts = useTexts();
  const own = useArea(operate);
  const { client } = useSession();
  const queries = useQueryClient();
  const { data, error, refetch } = useQuery(deadLettersQuery(client));
  const redrive = useMutation({
    mutationFn: () => client.admin.redrive(),
    onSettled: () => queries.invalidateQueries({ queryKey: ["operate"] }),
  });
  const columns = useColumns();
  const letters = data?.dead_letters ?? [];
  const tried = data?.depth.in_flight ?? 0;
  return (
    <section>
      <div className="title">
        <h2>{own.deadTitle}</h2>
        {letters.length > 0 && (
          <button type="button" disabled={redrive.isPending} onClick={() => redrive.mutate()}>
            {redrive.isPending ? own.redriving : own.redrive}
          </button>
        )}
      </div>
      <p className="muted">{own.deadHint}</p>
      {(error ?? redrive.error) && (
        <Trouble error={error ?? redrive.error} again={() => void refetch()} />
      )}
      <p role="status">{redrive.data && <Done answer={redrive.data} />}</p>
      {!error && !data && <p className="muted">{texts.loading}</p>}
      {data && !letters.length && !tried && <p className="empty muted">{own.noDead}</p>}
      {tried > 0 && <p>{own.beingTried(tried)}</p>}
      {letters.length > 0 && (
        <Columns
          label={own.deadTitle}
          columns={columns}
          rows={letters}
          keyOf={({ message_id }) => message_id}
        />
      )}
    </section>
  );
}

function Done({ answer }: { answer: RedriveAnswer }) {
  const own = useArea(operate);
  return (
    <>
      {own.redriven(answer.sent_again, answer.of_no_live_job)}{" "}
      {answer.out_of_reach > 0 && own.unreached(answer.out_of_reach)} {answer.more && own.moreLeft}
    </>
  );
}

function useColumns(): Column<DeadLetterView>[] {
  const own = useArea(operate);
  const language = useLanguage();
  return [
    {
      title: own.job,
      cell: ({ job_id: id, text }) => <code className="id">{id ?? text}</code>,
    },
    {
      title: own.state,
      cell: ({ status }) =>
        status ? <StatusBadge status={status} /> : <span className="muted">{own.gone}</span>,
    },
    { title: own.owner, cell: ({ owner }) => owner ?? "–" },
    {
      title: own.sent,
      cell: ({ sent_at: at }) => (
        <time dateTime={at} title={when(at, language)}>
          {ago(at, language)}
        </time>
      ),
    },
    { title: own.received, cell: ({ received }) => own.times(received) },
  ];
}

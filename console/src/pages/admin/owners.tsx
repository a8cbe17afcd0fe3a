import type { KeyLimits, KeyView, OwnerView } from "@comfyline/client";
import { useInfiniteQuery, useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { duration } from "../../format.js";
import { Disable, KeyTable } from "../../parts/key.js";
import { Trouble } from "../../parts/trouble.js";
import { ownersQuery } from "../../queries.js";
import { useSession } from "../../session.js";
import { useLanguage, useTexts } from "../../texts/index.js";

/** All owners that have keys, with what they use and have used. */
export default function OwnersPage() {
  const texts = useTexts();
  const { client } = useSession();
  const owners = useInfiniteQuery(ownersQuery(client));
  const [trouble, setTrouble] = useState<unknown>();

  async function change(changing: Promise<unknown>): Promise<void> {
    setTrouble(undefined);
    try {
      await changing;
    } catch (error) {
      setTrouble(error);
    }
    await owners.refetch();
  }

  const all = owners.data?.pages.flatMap((page) => page.owners) ?? [];
  return (
    <>
      <h1>{texts.owners}</h1>
      <p className="muted">{texts.ownersHint}</p>
      {trouble !== undefined && <Trouble error={trouble} />}
      <EndSessions owners={all.map(({ owner }) => owner)} />
      {owners.error && <Trouble error={owners.error} again={() => void owners.refetch()} />}
      {owners.isPending && <p className="muted">{texts.loading}</p>}
      {all.map((owner) => (
        <OwnerSection key={owner.owner} owner={owner} change={change} />
      ))}
      {owners.hasNextPage && (
        <button
          type="button"
          disabled={owners.isFetchingNextPage}
          onClick={() => void owners.fetchNextPage()}
        >
          {texts.more}
        </button>
      )}
    </>
  );
}

/** Ends the sessions of any owner, also of a person, who has no stored key. */
function EndSessions({ owners }: { owners: string[] }) {
  const texts = useTexts();
  const { client } = useSession();
  const end = useMutation({
    mutationFn: async (owner: string) => ({ owner, n: await client.admin.endSessions(owner) }),
  });
  const submit = (event: React.FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    end.mutate(String(new FormData(event.currentTarget).get("owner")).trim());
  };
  return (
    <section aria-labelledby="end-sessions">
      <h2 id="end-sessions">{texts.endSessionsTitle}</h2>
      <p className="muted">{texts.endSessionsHint}</p>
      <form className="filter" onSubmit={submit}>
        <label className="grow">
          {texts.ownerOrPerson}
          <input name="owner" required maxLength={128} list="known-owners" autoComplete="off" />
        </label>
        <datalist id="known-owners">
          {owners.map((owner) => (
            <option key={owner} value={owner} />
          ))}
        </datalist>
        <button type="submit" className="danger" disabled={end.isPending}>
          {texts.endSessions}
        </button>
      </form>
      <p role="status">{end.data && texts.sessionsEnded(end.data.n, end.data.owner)}</p>
      {end.error && <Trouble error={end.error} />}
    </section>
  );
}

type Change = (changing: Promise<unknown>) => Promise<void>;

function OwnerSection({ owner, change }: { owner: OwnerView; change: Change }) {
  const texts = useTexts();
  const language = useLanguage();
  const { client } = useSession();
  const number = new Intl.NumberFormat(language);
  return (
    <section className="owner" aria-label={owner.owner}>
      <h2 className="name">{owner.owner}</h2>
      <p className="muted">
        {texts.ownerUses(
          number.format(owner.active_jobs),
          duration(owner.gpu_seconds, language),
          number.format(owner.jobs),
        )}
      </p>
      <KeyTable
        label={texts.keysOf(owner.owner)}
        keys={owner.keys}
        change={(view) => <LimitsForm view={view} change={change} />}
        actions={(view) => (
          <Disable view={view} disable={() => change(client.admin.disableKey(view.id))} />
        )}
      />
    </section>
  );
}

const CHANGED = ["max_active_jobs", "jobs_per_minute"] as const;

/** The cap and the rate of a key; its other limits stay as they are. */
function LimitsForm({ view, change }: { view: KeyView; change: Change }) {
  const texts = useTexts();
  const { client } = useSession();

  function submit(event: React.FormEvent<HTMLFormElement>): void {
    event.preventDefault();
    const given = new FormData(event.currentTarget);
    const kept: Partial<KeyLimits> = { ...view.limits };
    for (const name of CHANGED) kept[name] = Number(given.get(name)) || null;
    void change(client.admin.limitKey(view.id, kept));
  }

  return (
    <details>
      <summary>{texts.changeLimits}</summary>
      <form className="limits-form" onSubmit={submit}>
        {CHANGED.map((name) => (
          <label key={name}>
            {texts.limits[name]}
            <input
              name={name}
              type="number"
              min={1}
              defaultValue={view.limits[name] ?? ""}
              placeholder={texts.unlimited}
            />
          </label>
        ))}
        <button type="submit">{texts.save}</button>
      </form>
    </details>
  );
}

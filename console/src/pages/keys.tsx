import { Comfyline } from "@comfyline/client";
import type { Caller, KeyView, NewKey } from "@comfyline/client";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { ROOT } from "../address.js";
import { Copy } from "../parts/copy.js";
import { Disable, KeyTable, Limits } from "../parts/key.js";
import { NewKeyForm } from "../parts/new-key-form.js";
import { Trouble } from "../parts/trouble.js";
import { keysQuery, meQuery } from "../queries.js";
import { useSession } from "../session.js";
import { useLanguage, useTexts } from "../texts/index.js";
import { when } from "../format.js";

/** The key that is signed in, and the keys of its owner. */
export default function KeysPage() {
  const texts = useTexts();
  const { client, caller } = useSession();
  const me = useQuery(meQuery(client));
  return (
    <>
      <h1>{texts.keys}</h1>
      {me.error && <Trouble error={me.error} again={() => void me.refetch()} />}
      {me.data && <OwnKey caller={me.data} />}
      <SignOutEverywhere />
      {caller.scopes.includes("keys") ? (
        <AllKeys />
      ) : (
        <section aria-labelledby="more-keys">
          <h2 id="more-keys">{texts.moreKeys}</h2>
          <p>{texts.keysNeedScope}</p>
          <pre
            tabIndex={0}
          >{`comfyline keys create --owner ${caller.owner} --scope jobs --scope keys`}</pre>
        </section>
      )}
    </>
  );
}

/** For who has left a session open elsewhere, or fears that it was stolen. */
function SignOutEverywhere() {
  const texts = useTexts();
  const { signOutEverywhere } = useSession();
  return (
    <p>
      <button type="button" onClick={signOutEverywhere}>
        {texts.signOutEverywhere}
      </button>{" "}
      <span className="muted">{texts.signOutEverywhereHint}</span>
    </p>
  );
}

function OwnKey({ caller }: { caller: Caller }) {
  const texts = useTexts();
  const language = useLanguage();
  const number = new Intl.NumberFormat(language);
  const cap = caller.limits?.max_active_jobs;
  return (
    <section aria-labelledby="own-key">
      <h2 id="own-key">{texts.thisKey}</h2>
      <dl className="facts">
        <Fact name={texts.owner}>{caller.owner}</Fact>
        {caller.key && (
          <Fact name={texts.key}>
            {caller.key.name} <code>{caller.key.id}</code>
          </Fact>
        )}
        <Fact name={texts.scopes}>{caller.scopes.join(", ")}</Fact>
        {typeof cap === "number" && (
          <Fact name={texts.limits.max_active_jobs}>
            {texts.ofMost(number.format(caller.active_jobs ?? 0), number.format(cap))}
          </Fact>
        )}
        {caller.limits && (
          <Fact name={texts.limitsTitle}>
            <Limits limits={caller.limits} />
          </Fact>
        )}
        <Fact name={texts.expires}>
          {caller.key?.expires_at ? when(caller.key.expires_at, language) : texts.never}
        </Fact>
      </dl>
    </section>
  );
}

function Fact({ name, children }: { name: string; children: React.ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function AllKeys() {
  const texts = useTexts();
  const { client } = useSession();
  const keys = useQuery(keysQuery(client));
  const [made, setMade] = useState<NewKey>();
  const [rotating, setRotating] = useState<KeyView>();
  const [trouble, setTrouble] = useState<unknown>();

  /** Makes keys with the maker itself, because a session makes none. */
  async function act(maker: string, make: (client: Comfyline) => Promise<NewKey>): Promise<void> {
    setMade(await make(new Comfyline({ url: ROOT, apiKey: maker })));
    setRotating(undefined);
    await keys.refetch();
  }

  async function disable(view: KeyView): Promise<void> {
    setTrouble(undefined);
    try {
      await client.disableKey(view.id);
    } catch (error) {
      setTrouble(error);
    }
    await keys.refetch();
  }

  return (
    <section>
      <h2>{texts.allKeys}</h2>
      {made && <Secret made={made} close={() => setMade(undefined)} />}
      {trouble !== undefined && <Trouble error={trouble} />}
      {keys.error && <Trouble error={keys.error} again={() => void keys.refetch()} />}
      {keys.isPending && <p className="muted">{texts.loading}</p>}
      {keys.data && (
        <KeyTable
          label={texts.allKeys}
          keys={keys.data}
          actions={(view) => (
            <span className="actions">
              {!view.scopes.includes("keys") && (
                <button
                  type="button"
                  aria-label={`${texts.rotate}: ${view.name ?? view.id}`}
                  onClick={() => setRotating(view)}
                >
                  {texts.rotate}
                </button>
              )}
              <Disable view={view} disable={() => disable(view)} />
            </span>
          )}
        />
      )}
      <NewKeyForm
        key={rotating?.id}
        rotating={rotating}
        act={act}
        cancel={() => setRotating(undefined)}
      />
    </section>
  );
}

/** The secret of a new key. The service cannot show it again. */
function Secret({ made, close }: { made: NewKey; close: () => void }) {
  const texts = useTexts();
  return (
    <div className="secret" role="status">
      <h3>{texts.newSecret}</h3>
      <p>{texts.shownOnce}</p>
      <div className="code">
        <Copy text={made.key} />
        <pre tabIndex={0} aria-label={texts.newSecret}>
          {made.key}
        </pre>
      </div>
      <button type="button" onClick={close}>
        {texts.stored}
      </button>
    </div>
  );
}

import type { KeyLimits, KeyView } from "@comfyline/client";
import { useState } from "react";
import type { ReactNode } from "react";
import { when } from "../format.js";
import { useLanguage, useTexts } from "../texts/index.js";
import { Table } from "./table.js";

const worksStill = (key: KeyView) => key.state === "active";

interface KeyTableProps {
  label: string;
  keys: KeyView[];
  /** Shown of keys that still work: below their limits, and in the last column. */
  change?: (view: KeyView) => ReactNode;
  actions: (view: KeyView) => ReactNode;
}

/** Keys with their state, scopes, limits and end, and what can be done with them. */
export function KeyTable({ label, keys, change, actions }: KeyTableProps) {
  const texts = useTexts();
  return (
    <Table
      label={label}
      head={[
        texts.key,
        texts.state,
        texts.scopes,
        texts.limitsTitle,
        texts.ends,
        <span className="sr">{texts.actions}</span>,
      ]}
    >
      {keys.map((view) => (
        <tr key={view.id}>
          <th scope="row">
            <KeyName view={view} />
          </th>
          <td>
            <KeyState view={view} />
          </td>
          <td>{view.scopes.join(", ")}</td>
          <td>
            <Limits limits={view.limits} />
            {worksStill(view) && change?.(view)}
          </td>
          <td>
            <KeyEnd view={view} />
          </td>
          <td>{worksStill(view) && actions(view)}</td>
        </tr>
      ))}
    </Table>
  );
}

/** The name of a key, or its id where it has none. */
function KeyName({ view }: { view: KeyView }) {
  return (
    <>
      {view.name && (
        <>
          <span className="strong">{view.name}</span>
          <br />
        </>
      )}
      <code>{view.id}</code>
    </>
  );
}

function KeyState({ view }: { view: KeyView }) {
  const texts = useTexts();
  return (
    <span className={worksStill(view) ? "badge succeeded" : "badge canceled"}>
      {texts.keyStates[view.state]}
    </span>
  );
}

function KeyEnd({ view }: { view: KeyView }) {
  const texts = useTexts();
  const language = useLanguage();
  const end = view.disabled_at ?? view.expires_at;
  return end ? <time dateTime={end}>{when(end, language)}</time> : <>{texts.never}</>;
}

/** The limits that a key has; others are the service's own. */
export function Limits({ limits }: { limits: KeyLimits }) {
  const texts = useTexts();
  const language = useLanguage();
  const given = Object.entries(limits).flatMap(([name, bound]) =>
    bound === null ? [] : [{ name: name as keyof KeyLimits, bound }],
  );
  if (given.length === 0) return <span className="muted">{texts.noLimits}</span>;
  return (
    <ul className="plain">
      {given.map(({ name, bound }) => (
        <li key={name}>
          {texts.limits[name]}: {new Intl.NumberFormat(language).format(bound)}
        </li>
      ))}
    </ul>
  );
}

/** A button that asks once more before it acts, because a key is ended for good. */
export function Disable({ view, disable }: { view: KeyView; disable: () => Promise<unknown> }) {
  const texts = useTexts();
  const [isAsking, setAsking] = useState(false);
  const [isBusy, setBusy] = useState(false);
  if (!isAsking) {
    return (
      <button
        type="button"
        aria-label={`${texts.disable}: ${view.name ?? view.id}`}
        onClick={() => setAsking(true)}
      >
        {texts.disable}
      </button>
    );
  }
  const act = () => {
    setBusy(true);
    void disable().finally(() => setBusy(false));
  };
  return (
    <span className="actions">
      <button type="button" className="danger" disabled={isBusy} autoFocus onClick={act}>
        {texts.disableForGood}
      </button>
      <button type="button" className="quiet" onClick={() => setAsking(false)}>
        {texts.keep}
      </button>
    </span>
  );
}

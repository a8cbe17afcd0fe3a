import type { Comfyline, KeyView, NewKey } from "@comfyline/client";
import { useState } from "react";
import { useTexts } from "../texts/index.js";
import { Trouble } from "./trouble.js";

const SCOPES = ["jobs", "jobs:read"] as const;
const DAY = 86_400;
const LIVES = [30, 90, 365]; // days

interface Props {
  /** The key that a new one replaces; a further key is made without it. */
  rotating: KeyView | undefined;
  act: (maker: string, make: (client: Comfyline) => Promise<NewKey>) => Promise<void>;
  cancel: () => void;
}

/** Asks for a new key. The maker's secret is used for this call only. */
export function NewKeyForm({ rotating, act, cancel }: Props) {
  const texts = useTexts();
  const [trouble, setTrouble] = useState<unknown>();
  const [isBusy, setBusy] = useState(false);

  async function submit(event: React.FormEvent<HTMLFormElement>): Promise<void> {
    event.preventDefault();
    const form = event.currentTarget;
    const given = new FormData(form);
    const maker = String(given.get("maker")).trim();
    setBusy(true);
    setTrouble(undefined);
    try {
      await act(maker, (client) =>
        rotating ? client.rotateKey(rotating.id, DAY) : client.createKey(asked(given)),
      );
      form.reset();
    } catch (error) {
      setTrouble(error);
    } finally {
      setBusy(false);
    }
  }

  const title = rotating ? `${texts.rotate}: ${rotating.name ?? rotating.id}` : texts.newKey;
  return (
    <form className="key-form" onSubmit={(event) => void submit(event)} aria-labelledby="key-form">
      <h3 id="key-form">{title}</h3>
      {rotating ? <p>{texts.rotateHint}</p> : <Choices />}
      <label htmlFor="maker">{texts.confirmWithKey}</label>
      <input
        id="maker"
        name="maker"
        type="password"
        autoComplete="off"
        spellCheck={false}
        required
        pattern="\s*cl_[0-9a-f]{16}_[0-9A-Za-z_\-]{32,64}\s*"
        title={texts.apiKeyHint}
        autoFocus={rotating !== undefined}
        aria-describedby="maker-hint"
      />
      <p id="maker-hint" className="muted">
        {texts.confirmHint}
      </p>
      {trouble !== undefined && <Trouble error={trouble} />}
      <span className="actions">
        <button type="submit" className="primary" disabled={isBusy}>
          {rotating ? texts.rotate : texts.makeKey}
        </button>
        {rotating && (
          <button type="button" className="quiet" onClick={cancel}>
            {texts.keep}
          </button>
        )}
      </span>
    </form>
  );
}

function Choices() {
  const texts = useTexts();
  return (
    <div className="key-choices">
      <label>
        {texts.keyName}
        <input name="name" maxLength={64} placeholder={texts.keyNameExample} />
      </label>
      <label>
        {texts.mayDo}
        <select name="scope">
          {SCOPES.map((scope) => (
            <option key={scope} value={scope}>
              {texts.scopeNames[scope]}
            </option>
          ))}
        </select>
      </label>
      <label>
        {texts.expires}
        <select name="days" defaultValue="">
          <option value="">{texts.withYourKey}</option>
          {LIVES.map((days) => (
            <option key={days} value={days}>
              {texts.inDays(days)}
            </option>
          ))}
        </select>
      </label>
      <label>
        {texts.limits.max_active_jobs}
        <input name="max_active_jobs" type="number" min={1} />
      </label>
      <label>
        {texts.limits.jobs_per_minute}
        <input name="jobs_per_minute" type="number" min={1} />
      </label>
    </div>
  );
}

function asked(given: FormData) {
  const number = (name: string) => Number(given.get(name)) || undefined;
  const days = number("days");
  const limits = {
    max_active_jobs: number("max_active_jobs"),
    jobs_per_minute: number("jobs_per_minute"),
  };
  return {
    name: String(given.get("name")).trim(),
    scopes: [given.get("scope") as (typeof SCOPES)[number]],
    ...(days && { expires_in: days * DAY }),
    limits: Object.fromEntries(Object.entries(limits).filter(([, bound]) => bound)),
  };
}

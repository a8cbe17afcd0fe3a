import { Forbidden, NotConfigured, Unauthorized } from "@comfyline/client";
import { useState } from "react";
import { newClient } from "../session.js";
import type { Ending } from "../session.js";
import { LanguageChoice, useTexts } from "../texts/index.js";
import { reason } from "../parts/trouble.js";

/** Asks for a key, and tries it before it is accepted. */
export function SignIn({ ending, accept }: { ending: Ending; accept: (key: string) => void }) {
  const texts = useTexts();
  const [key, setKey] = useState("");
  const [trouble, setTrouble] = useState(ending === "key-ended" ? texts.keyEnded : "");
  const [isTrying, setTrying] = useState(false);

  async function submit(event: React.FormEvent) {
    event.preventDefault();
    setTrying(true);
    setTrouble("");
    try {
      await newClient(key.trim()).list({ limit: 1 }).next();
      accept(key.trim());
    } catch (error) {
      setTrying(false);
      if (error instanceof Forbidden) setTrouble(texts.keyWithoutScope);
      else if (error instanceof Unauthorized || error instanceof NotConfigured)
        setTrouble(texts.keyRefused);
      else setTrouble(reason(error, texts));
    }
  }

  return (
    <main className="sign-in">
      <form onSubmit={submit}>
        <h1>Comfyline</h1>
        <label htmlFor="key">{texts.apiKey}</label>
        <input
          id="key"
          type="password"
          autoComplete="off"
          spellCheck={false}
          required
          autoFocus
          value={key}
          aria-describedby="key-hint key-trouble"
          aria-invalid={trouble !== "" || undefined}
          onChange={({ target }) => setKey(target.value)}
        />
        <p id="key-hint" className="muted">
          {texts.apiKeyHint}
        </p>
        <p id="key-trouble" className="trouble-text" role="alert">
          {trouble}
        </p>
        <button type="submit" className="primary" disabled={isTrying}>
          {isTrying ? texts.loading : texts.signIn}
        </button>
        <LanguageChoice />
      </form>
    </main>
  );
}

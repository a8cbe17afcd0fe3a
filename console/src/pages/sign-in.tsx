import { useEffect, useState } from "react";
import { CookieLost, SignInRefused } from "../bearer.js";
import { issuerOf, leaveFor } from "../issuer.js";
import type { Issuer } from "../issuer.js";
import type { Ending } from "../session.js";
import type { Texts } from "../texts/en.js";
import { LanguageChoice, useTexts } from "../texts/index.js";
import { reason } from "../parts/trouble.js";

interface Props {
  ending: Ending;
  /** @throws SignInRefused, CookieLost, TransportFailed. */
  accept: (key: string) => Promise<void>;
}

/** Asks for a key, and says why it has to ask. */
export function SignIn({ ending, accept }: Props) {
  const texts = useTexts();
  const [key, setKey] = useState("");
  const [trouble, setTrouble] = useState(texts.endings[ending]);
  const [isTrying, setTrying] = useState(false);
  const [issuer, setIssuer] = useState<Issuer>();

  useEffect(() => {
    const leaving = new AbortController();
    void issuerOf(leaving.signal).then(setIssuer);
    return () => leaving.abort();
  }, []);

  async function submit(event: React.FormEvent) {
    event.preventDefault();
    setTrying(true);
    setTrouble("");
    try {
      await accept(asciiOnly(key.trim()));
    } catch (error) {
      setTrying(false);
      setTrouble(refusal(error, texts));
    }
  }

  return (
    <main className="sign-in">
      <form onSubmit={submit}>
        <h1>Comfyline</h1>
        {issuer && (
          <>
            <button type="button" className="primary" onClick={() => void leaveFor(issuer)}>
              {texts.signInAtIssuer}
            </button>
            <p className="muted">{texts.orKey}</p>
          </>
        )}
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
        <button type="submit" className={issuer ? "" : "primary"} disabled={isTrying}>
          {isTrying ? texts.loading : texts.signIn}
        </button>
        <LanguageChoice />
      </form>
    </main>
  );
}

/** A header holds ASCII only, and no key has anything else. */
function asciiOnly(key: string): string {
  if (/^[\x21-\x7e]+$/.test(key)) return key;
  throw new SignInRefused(401, "");
}

function refusal(error: unknown, texts: Texts): string {
  if (error instanceof CookieLost) return texts.cookieLost;
  if (!(error instanceof SignInRefused)) return reason(error, texts);
  const known: Record<number, string> = { 401: texts.keyRefused, 403: texts.keyWithoutScope };
  return known[error.status] ?? error.message;
}

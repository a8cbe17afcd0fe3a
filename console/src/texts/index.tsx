/** The language of the console: the browser's, until the user chooses another. */

import { createContext, useContext, useEffect, useState } from "react";
import type { ReactNode } from "react";
import { de } from "./de.js";
import { en } from "./en.js";
import type { Texts } from "./en.js";

const LANGUAGES: Record<string, Texts> = { en, de };
const STORED = "comfyline.language";

interface Chosen {
  language: string;
  texts: Texts;
  choose: (language: string) => void;
}

const Context = createContext<Chosen>({ language: "en", texts: en, choose: () => {} });

export function TextsProvider({ children }: { children: ReactNode }) {
  const [language, setLanguage] = useState(first);
  useEffect(() => {
    document.documentElement.lang = language;
  }, [language]);
  const choose = (next: string) => {
    localStorage.setItem(STORED, next);
    setLanguage(next);
  };
  const texts = LANGUAGES[language] ?? en;
  return <Context.Provider value={{ language, texts, choose }}>{children}</Context.Provider>;
}

export function useTexts(): Texts {
  return useContext(Context).texts;
}

/** For dates and numbers. */
export function useLanguage(): string {
  return useContext(Context).language;
}

export function LanguageChoice() {
  const { language, texts, choose } = useContext(Context);
  return (
    <select
      aria-label={texts.language}
      value={language}
      onChange={({ target }) => choose(target.value)}
    >
      {Object.entries(LANGUAGES).map(([code, { name }]) => (
        <option key={code} value={code}>
          {name}
        </option>
      ))}
    </select>
  );
}

function first(): string {
  const wanted = [localStorage.getItem(STORED), ...navigator.languages.map((l) => l.slice(0, 2))];
  return wanted.find((code) => code !== null && code in LANGUAGES) ?? "en";
}

/** The language of the console: the browser's, until the user chooses another. */

import { createContext, useContext, useEffect, useState } from "react";
import type { ReactNode } from "react";
import { de } from "./de.js";
import { en } from "./en.js";
import type { Texts } from "./en.js";

const LANGUAGES: Record<Language, Texts> = { en, de };

export type Language = "en" | "de";

/** The texts of one area of the console, in a file of its own; it is loaded with the area's page. */
export type Area<T> = Record<Language, T>;
const STORED = "comfyline.language";

interface Chosen {
  language: Language;
  texts: Texts;
  choose: (language: Language) => void;
}

const Context = createContext<Chosen>({ language: "en", texts: en, choose: () => {} });

export function TextsProvider({ children }: { children: ReactNode }) {
  const [language, setLanguage] = useState<Language>(first);
  useEffect(() => {
    document.documentElement.lang = language;
  }, [language]);
  const choose = (next: Language) => {
    localStorage.setItem(STORED, next);
    setLanguage(next);
  };
  const texts = LANGUAGES[language];
  return <Context.Provider value={{ language, texts, choose }}>{children}</Context.Provider>;
}

export function useTexts(): Texts {
  return useContext(Context).texts;
}

/** The texts of an area, in the chosen language. */
export function useArea<T>(area: Area<T>): T {
  return area[useContext(Context).language];
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
      onChange={({ target }) => choose(target.value as Language)}
    >
      {Object.entries(LANGUAGES).map(([code, { name }]) => (
        <option key={code} value={code}>
          {name}
        </option>
      ))}
    </select>
  );
}

function first(): Language {
  const wanted = [localStorage.getItem(STORED), ...navigator.languages.map((l) => l.slice(0, 2))];
  return wanted.find((code) => isLanguage(code)) ?? "en";
}

function isLanguage(code: string | null): code is Language {
  return code !== null && Object.hasOwn(LANGUAGES, code);
}

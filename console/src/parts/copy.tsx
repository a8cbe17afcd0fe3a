import { useState } from "react";
import { useTexts } from "../texts/index.js";

/** A button that copies the text. */
export function Copy({ text }: { text: string }) {
  const texts = useTexts();
  const [isCopied, setCopied] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    setCopied(true);
    setTimeout(() => setCopied(false), 2000);
  };
  return (
    <button type="button" className="quiet copy" onClick={() => void copy()}>
      {isCopied ? texts.copied : texts.copy}
    </button>
  );
}

import type { SubmitRequest } from "@comfyline/client";
import { parseJson } from "@comfyline/client";
import { useRef, useState } from "react";
import { useTexts } from "../texts/index.js";
import { graphText, readGraph } from "./graph.js";
import { RequestCode, codeOfPost } from "./request-code.js";
import { SubmitButton, useSubmit } from "./submit.js";
import { Trouble } from "./trouble.js";

const MOST_BYTES = 100 * 1024 * 1024;

/** A job from a workflow that is pasted or dropped, with files for its inputs. */
export function GraphForm() {
  const texts = useTexts();
  const sending = useSubmit();
  const [text, setText] = useState("");
  const [files, setFiles] = useState<Record<string, File>>({});
  const [trouble, setTrouble] = useState<unknown>();
  const [isOver, setOver] = useState(false);
  const [isStrict, setStrict] = useState(false);
  const picker = useRef<HTMLInputElement>(null);
  const graph = text.trim() ? readGraph(text, texts) : undefined;
  const isGraph = graph !== undefined && typeof graph !== "string";

  async function take(file: File | undefined) {
    if (!file) return;
    setTrouble(undefined);
    try {
      replace(await graphText(file, texts));
    } catch (error) {
      setTrouble(error);
    }
  }

  function replace(next: string) {
    setText(next);
    setFiles({});
  }

  function choose(place: string, file: File | undefined) {
    const { [place]: _, ...others } = files;
    setTrouble(file && file.size > MOST_BYTES ? new Error(texts.fileTooLarge) : undefined);
    setFiles(file && file.size <= MOST_BYTES ? { ...others, [place]: file } : others);
  }

  return (
    <>
      <form
        className={isOver ? "drop over" : "drop"}
        onSubmit={(event) => {
          event.preventDefault();
          if (!isGraph) return;
          const request = { workflow: graph.text, previews: true, strict: isStrict };
          sending.mutate({ request: request as SubmitRequest, files });
        }}
        onDragOver={(event) => {
          event.preventDefault();
          setOver(true);
        }}
        onDragLeave={() => setOver(false)}
        onDrop={(event) => {
          event.preventDefault();
          setOver(false);
          void take(event.dataTransfer.files[0]);
        }}
      >
        <p id="graph-hint" className="muted">
          {texts.graphHint}
        </p>
        <p>
          <button type="button" onClick={() => picker.current!.click()}>
            {texts.chooseFile}
          </button>
          <input
            ref={picker}
            type="file"
            hidden
            accept=".json,.png,application/json,image/png"
            onChange={({ target }) => {
              void take(target.files?.[0]);
              target.value = "";
            }}
          />
        </p>
        <label htmlFor="graph-text">{texts.graphLabel}</label>
        <textarea
          id="graph-text"
          className="mono"
          rows={14}
          spellCheck={false}
          value={text}
          aria-describedby="graph-hint graph-trouble"
          aria-invalid={typeof graph === "string" || undefined}
          onChange={({ target }) => replace(target.value)}
        />
        <p id="graph-trouble" className="trouble-text" role="alert">
          {typeof graph === "string" ? graph : ""}
        </p>
        {isGraph && <p className="muted">{texts.nodes(graph.nodes)}</p>}
        {isGraph && graph.files.length > 0 && (
          <fieldset>
            <legend>{texts.inputFiles}</legend>
            <p className="muted">{texts.inputFilesHint}</p>
            {graph.files.map(({ place, name, nodeType }) => (
              <label key={place} htmlFor={`file-${place}`}>
                <span>
                  <code>{place}</code> {nodeType}: {name}
                </span>
                <input
                  id={`file-${place}`}
                  type="file"
                  onChange={({ target }) => choose(place, target.files?.[0])}
                />
              </label>
            ))}
          </fieldset>
        )}
        <label className="check">
          <input
            type="checkbox"
            checked={isStrict}
            onChange={({ target }) => setStrict(target.checked)}
          />
          {texts.strict}
        </label>
        {trouble !== undefined && <Trouble error={trouble} />}
        <SubmitButton sending={sending} isReady={isGraph} />
      </form>
      {isGraph && (
        <RequestCode
          code={codeOfPost(
            { workflow: parseJson(graph.text), ...(isStrict && { strict: true }) },
            files,
          )}
        />
      )}
    </>
  );
}

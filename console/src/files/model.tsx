/** A file of a 3D model, shown in place when the user asks for it. */

import type { ArtifactView } from "@comfyline/client";
import { useEffect, useRef, useState } from "react";
import { fileSize } from "../format.js";
import { filesTexts } from "../texts/files.js";
import { useArea, useLanguage, useTexts } from "../texts/index.js";
import type { ModelKind } from "./model-kinds.js";
import type { Stage } from "./model-stage.js";
import "./files.css";

const MOST_BYTES = 100e6;

export function Model({ file, url, kind }: { file: ArtifactView; url: string; kind: ModelKind }) {
  const texts = useArea(filesTexts);
  const language = useLanguage();
  const [isAsked, setAsked] = useState(false);
  if (file.bytes > MOST_BYTES)
    return <p className="muted file-note">{texts.tooLarge3d(fileSize(MOST_BYTES, language))}</p>;
  if (isAsked) return <Shown file={file} url={url} kind={kind} />;
  return (
    <p className="kind">
      <button type="button" onClick={() => setAsked(true)}>
        {texts.show3d}
      </button>
    </p>
  );
}

function Shown({ file, url, kind }: { file: ArtifactView; url: string; kind: ModelKind }) {
  const common = useTexts();
  const texts = useArea(filesTexts);
  const canvas = useRef<HTMLCanvasElement>(null);
  const stage = useRef<Stage>(undefined);
  const [state, setState] = useState<"loading" | "shown" | "broken">("loading");
  useEffect(() => {
    const leaving = new AbortController();
    const broken = () => !leaving.signal.aborted && setState("broken");
    show(url, kind, canvas.current!, leaving.signal, broken).then((shown) => {
      stage.current = shown;
      if (shown) setState("shown");
    }, broken);
    return () => {
      leaving.abort();
      stage.current?.close();
    };
  }, [url, kind]);
  if (state === "broken") return <p className="muted file-note">{texts.cannotShow3d}</p>;
  return (
    <>
      {state === "loading" && <p className="muted file-note">{common.loading}</p>}
      <canvas
        ref={canvas}
        className="model"
        role="img"
        tabIndex={0}
        aria-label={texts.model3d(file.name)}
        onKeyDown={(event) => {
          if (stage.current?.press(event.key)) event.preventDefault();
        }}
      />
    </>
  );
}

/** undefined if the page was left meanwhile. @throws Error the file cannot be shown. */
async function show(
  url: string,
  kind: ModelKind,
  canvas: HTMLCanvasElement,
  signal: AbortSignal,
  lost: () => void,
): Promise<Stage | undefined> {
  const [{ modelOf }, { stageOf }, answer] = await Promise.all([
    import("./model-loading.js"),
    import("./model-stage.js"),
    fetch(url, { signal, credentials: "omit" }),
  ]);
  if (!answer.ok) throw new Error(String(answer.status));
  const model = await modelOf(kind, await answer.arrayBuffer());
  return signal.aborted ? undefined : stageOf(canvas, model, lost);
}

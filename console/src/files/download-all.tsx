import type { ArtifactView } from "@comfyline/client";
import { useRef, useState } from "react";
import { fileSize } from "../format.js";
import { Trouble } from "../parts/trouble.js";
import { allFiles } from "../queries.js";
import { useSession } from "../session.js";
import { filesTexts } from "../texts/files.js";
import { useArea, useLanguage } from "../texts/index.js";
import { FileUnreadable, MOST_HELD, archive, choosePlace, write } from "./zip.js";

type State =
  | { at: "rest" }
  | { at: "saving"; begun: number }
  | { at: "saved" }
  | { at: "failed"; error: unknown };

interface Props {
  jobId: string;
  /** The first files of the job. */
  files: ArtifactView[];
  /** How many files the job has. */
  total: number;
}

/** A button that saves all files of the job as one archive. */
export default function DownloadAll({ jobId, files, total }: Props) {
  const texts = useArea(filesTexts);
  const language = useLanguage();
  const { client } = useSession();
  const [state, setState] = useState<State>({ at: "rest" });
  const leaving = useRef<AbortController>(undefined);
  const known = files.reduce((sum, { bytes }) => sum + bytes, 0);
  const size = `${total > files.length ? "≥ " : ""}${fileSize(known, language)}`;

  async function save() {
    const controller = new AbortController();
    leaving.current = controller;
    const { signal } = controller;
    try {
      const name = `${jobId}.zip`;
      const place = await choosePlace(name);
      if (!place) return;
      setState({ at: "saving", begun: 0 });
      const all = total > files.length ? await allFiles(client, jobId, signal) : files;
      const bytes = all.reduce((sum, file) => sum + file.bytes, 0);
      if (place === "memory" && bytes > MOST_HELD)
        throw new Error(
          texts.zipTooLarge(fileSize(bytes, language), fileSize(MOST_HELD, language)),
        );
      const progressed = (begun: number) => setState({ at: "saving", begun });
      const stream = archive({ client, jobId, files: all, signal, progressed });
      await write(stream, place, name, signal);
      setState({ at: "saved" });
    } catch (error) {
      if (signal.aborted) setState({ at: "rest" });
      else setState({ at: "failed", error: explained(error) });
    }
  }

  const explained = (error: unknown) =>
    error instanceof FileUnreadable ? new Error(texts.zipFailed(error.message)) : error;

  return (
    <div className="download-all">
      <button type="button" disabled={state.at === "saving"} onClick={() => void save()}>
        {texts.zip(total, size)}
      </button>
      {state.at === "saving" && (
        <button type="button" onClick={() => leaving.current?.abort()}>
          {texts.stop}
        </button>
      )}
      <span role="status" className="muted">
        {state.at === "saving" && texts.zipping(state.begun, total)}
        {state.at === "saved" && texts.zipped}
      </span>
      {state.at === "failed" && <Trouble error={state.error} />}
    </div>
  );
}

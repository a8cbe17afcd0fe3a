/** The files of a job, and one of them at the size of the window. */

import { Dialog, DialogDismiss, useDialogStore } from "@ariakit/react";
import type { ArtifactView } from "@comfyline/client";
import { useState } from "react";
import { ROOT } from "../address.js";
import { CompareButton, PickedBar } from "../files/picked.js";
import { fileSize } from "../format.js";
import { useLanguage, useTexts } from "../texts/index.js";
import { Media, isPicture, isVideo } from "./media.js";

export function Files({ jobId, files }: { jobId: string; files: ArtifactView[] }) {
  const texts = useTexts();
  const language = useLanguage();
  const [shown, setShown] = useState<number>();
  const large = files.filter((file) => isPicture(file) || isVideo(file));
  return (
    <>
      <ul className="files">
        {files.map((file) => (
          <li key={file.number} className="file">
            <Media file={file} />
            <div className="file-line">
              <span className="file-name" title={file.name}>
                {file.name}
              </span>
              <span className="muted">{fileSize(file.bytes, language)}</span>
              <span className="grow" />
              {isPicture(file) && <CompareButton jobId={jobId} file={file} />}
              {large.includes(file) && (
                <button
                  type="button"
                  className="quiet"
                  aria-label={texts.openLarge(file.name)}
                  onClick={() => setShown(large.indexOf(file))}
                >
                  ⤢
                </button>
              )}
              <DownloadLink jobId={jobId} file={file} />
            </div>
          </li>
        ))}
      </ul>
      <PickedBar />
      {shown !== undefined && (
        <Viewer
          jobId={jobId}
          files={large}
          at={shown}
          show={setShown}
          close={() => setShown(undefined)}
        />
      )}
    </>
  );
}

/** The address of the file at the service, which stays the same: a signed URL ends in 15 minutes. */
function DownloadLink({ jobId, file }: { jobId: string; file: ArtifactView }) {
  const texts = useTexts();
  return (
    <a
      className="button quiet"
      href={`${ROOT}/api/v1/jobs/${encodeURIComponent(jobId)}/artifacts/${file.number}`}
      download={file.name}
      target="_blank"
      rel="noopener noreferrer"
      aria-label={`${texts.download}: ${file.name}`}
    >
      ⤓
    </a>
  );
}

interface ViewerProps {
  jobId: string;
  files: ArtifactView[];
  at: number;
  show: (at: number) => void;
  close: () => void;
}

function Viewer({ jobId, files, at, show, close }: ViewerProps) {
  const texts = useTexts();
  const dialog = useDialogStore({ open: true, setOpen: (isOpen) => !isOpen && close() });
  const file = files[at]!;
  const step = (by: number) => show((at + by + files.length) % files.length);
  const keys: Record<string, number> = { ArrowLeft: -1, ArrowRight: 1 };
  return (
    <Dialog
      store={dialog}
      className="viewer"
      aria-label={file.name}
      onKeyDown={(event) => {
        const by = keys[event.key];
        if (by) step(by);
      }}
    >
      <div className="viewer-bar">
        <span className="file-name">{file.name}</span>
        <span className="muted">
          {at + 1} / {files.length}
        </span>
        <span className="grow" />
        {files.length > 1 && (
          <>
            <button type="button" onClick={() => step(-1)}>
              {texts.previous}
            </button>
            <button type="button" onClick={() => step(1)}>
              {texts.next}
            </button>
          </>
        )}
        <DownloadLink jobId={jobId} file={file} />
        <DialogDismiss className="button">{texts.close}</DialogDismiss>
      </div>
      <div className="viewer-media">
        <Media key={file.number} file={file} />
      </div>
    </Dialog>
  );
}

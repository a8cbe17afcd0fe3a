/** The picture that the user has chosen to compare with another one, also on another page. */

import type { ArtifactView } from "@comfyline/client";
import { useSyncExternalStore } from "react";
import { go } from "../router.js";
import { filesTexts } from "../texts/files.js";
import { useArea } from "../texts/index.js";

interface Picked {
  /** `<job id>.<number of the file>` */
  place: string;
  name: string;
}

let picked: Picked | undefined;
const listeners = new Set<() => void>();

function pick(next: Picked | undefined): void {
  picked = next;
  listeners.forEach((listener) => listener());
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Chooses a picture; the second one leads to the page that compares both. */
export function CompareButton({ jobId, file }: { jobId: string; file: ArtifactView }) {
  const texts = useArea(filesTexts);
  const first = useSyncExternalStore(subscribe, () => picked);
  const place = `${jobId}.${file.number ?? 0}`;
  return (
    <button
      type="button"
      className="quiet"
      aria-label={texts.comparePick(file.name)}
      title={texts.compare}
      aria-pressed={first?.place === place}
      onClick={() => {
        if (!first) return pick({ place, name: file.name });
        pick(undefined);
        if (first.place !== place) go(`#/compare?a=${first.place}&b=${place}`);
        return undefined;
      }}
    >
      ◫
    </button>
  );
}

/** Says which picture is chosen. */
export function PickedBar() {
  const texts = useArea(filesTexts);
  const first = useSyncExternalStore(subscribe, () => picked);
  if (!first) return null;
  return (
    <p className="picked" role="status">
      {texts.picked(first.name)}
      <button type="button" onClick={() => pick(undefined)}>
        {texts.unpick}
      </button>
    </p>
  );
}

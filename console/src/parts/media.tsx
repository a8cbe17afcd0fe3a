/** Files shown in place: pictures, video, audio and text. Others can be downloaded. */

import type { ArtifactView } from "@comfyline/client";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { modelKind } from "../files/model-kinds.js";
import { Model } from "../files/model.js";
import { safeUrl } from "../format.js";
import { useTexts } from "../texts/index.js";

const MOST_TEXT = 64 * 1024;
// A picture is shown as such, also an SVG: within <img> no script of it runs.
const PICTURE = /^image\/(png|jpeg|webp|gif|avif|bmp|svg\+xml)$/;
const TEXT = /^(text\/|application\/(json|x-ndjson|xml|yaml)$)/;

export const isPicture = ({ content_type }: ArtifactView) => PICTURE.test(content_type);
export const isVideo = ({ content_type }: ArtifactView) => content_type.startsWith("video/");
export const isAudio = ({ content_type }: ArtifactView) => content_type.startsWith("audio/");
export const isText = ({ content_type }: ArtifactView) => TEXT.test(content_type);

export function Media({ file }: { file: ArtifactView }) {
  const texts = useTexts();
  const [isBroken, setBroken] = useState(false);
  const url = safeUrl(file.url);
  const broken = () => setBroken(true);
  if (!url || isBroken) return <p className="muted file-note">{texts.fileUnavailable}</p>;
  if (isPicture(file))
    return (
      <img src={url} alt={file.name} width={512} height={512} loading="lazy" onError={broken} />
    );
  if (isVideo(file))
    return <video src={url} controls preload="metadata" aria-label={file.name} onError={broken} />;
  if (isAudio(file)) return <audio src={url} controls aria-label={file.name} onError={broken} />;
  if (isText(file) && !modelKind(file)) return <Text url={url} file={file} />;
  const kind = modelKind(file);
  if (kind) return <Model file={file} url={url} kind={kind} />;
  return <p className="kind">{file.content_type}</p>;
}

function Text({ url, file }: { url: string; file: ArtifactView }) {
  const texts = useTexts();
  const { data, isError } = useQuery({
    queryKey: ["text", file.sha256],
    queryFn: ({ signal }) => beginningOf(url, signal),
    staleTime: Infinity,
  });
  if (isError) return <p className="muted file-note">{texts.fileUnavailable}</p>;
  return (
    <div>
      <pre className="text-file" tabIndex={0} aria-label={file.name}>
        {data ?? texts.loading}
      </pre>
      {file.bytes > MOST_TEXT && <p className="muted">{texts.textTooLong}</p>}
    </div>
  );
}

/** The first MOST_TEXT bytes of a text file; no more is fetched. */
async function beginningOf(url: string, signal: AbortSignal): Promise<string> {
  const answer = await fetch(url, { signal });
  if (!answer.ok || !answer.body) throw new Error(String(answer.status));
  const reader = answer.body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  for (let bytes = 0; bytes < MOST_TEXT;) {
    const { value, done } = await reader.read();
    if (done) return text + decoder.decode();
    bytes += value.length;
    text += decoder.decode(value, { stream: true });
  }
  await reader.cancel();
  return text.slice(0, MOST_TEXT);
}

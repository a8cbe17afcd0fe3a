import { ApiError, InvalidRequest, TransportFailed } from "@comfyline/client";
import { useTexts } from "../texts/index.js";
import type { Texts } from "../texts/en.js";

/** What went wrong, for the user: the service's own words where it has some. */
export function reason(error: unknown, texts: Texts): string {
  if (error instanceof ApiError) return error.message;
  if (error instanceof TransportFailed) return texts.unreachable;
  if (error instanceof TypeError && error.message.includes("job id")) return texts.notFound;
  return error instanceof Error && error.message ? error.message : texts.failed;
}

/** An error, with a button to try again where that may help. */
export function Trouble({ error, again }: { error: unknown; again?: () => void }) {
  const texts = useTexts();
  const fields = error instanceof InvalidRequest ? (error.problem?.errors ?? []) : [];
  return (
    <div className="trouble" role="alert">
      <p>{reason(error, texts)}</p>
      {fields.length > 1 && (
        <ul>
          {fields.map(({ loc, msg }, n) => (
            <li key={n}>
              <code>{loc.join(".")}</code>: {msg}
            </li>
          ))}
        </ul>
      )}
      {again && (
        <button type="button" onClick={again}>
          {texts.retryNow}
        </button>
      )}
    </div>
  );
}

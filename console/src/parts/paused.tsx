import { useQuery } from "@tanstack/react-query";
import { meQuery } from "../queries.js";
import { useSession } from "../session.js";
import { useTexts } from "../texts/index.js";

/** Tells every user what an operator has paused. */
export function Paused() {
  const texts = useTexts();
  const { client, caller } = useSession();
  const { data = caller } = useQuery(meQuery(client));
  const told = [
    data.jobs_enabled === false && texts.paused,
    data.sockets_enabled === false && texts.pausedLive,
  ].filter(Boolean);
  return (
    <div role="status" aria-label={texts.serviceState}>
      {told.map((text) => (
        <p key={String(text)} className="banner paused">
          {text}
        </p>
      ))}
    </div>
  );
}

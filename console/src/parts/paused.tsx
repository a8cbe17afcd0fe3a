import { useQuery } from "@tanstack/react-query";
import { meQuery } from "../queries.js";
import { useSession } from "../session.js";
import { useTexts } from "../texts/index.js";

/** Tells every user what an operator has paused. */
export function Paused() {
  const texts = useTexts();
  const { client, caller } = useSession();
  const { data = caller } = useQuery(meQuery(client));
  return (
    <>
      {data.jobs_enabled === false && <Banner text={texts.paused} />}
      {data.sockets_enabled === false && <Banner text={texts.pausedLive} />}
    </>
  );
}

function Banner({ text }: { text: string }) {
  return (
    <p className="banner paused" role="alert">
      {text}
    </p>
  );
}

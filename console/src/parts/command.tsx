import { useQuery } from "@tanstack/react-query";
import { alarmsQuery } from "../operate.js";
import { useSession } from "../session.js";

/** A command of an operator, with the stage of this deployment. */
export function Command({ text }: { text: string }) {
  const { client } = useSession();
  const { data } = useQuery(alarmsQuery(client));
  const [program, group, ...rest] = text.split(" ");
  const stage = data ? ["--stage", data.stage] : [];
  return <pre tabIndex={0}>{[program, group, ...stage, ...rest].join(" ")}</pre>;
}

import Markdown from "react-markdown";
import text from "../../../docs/runbook.md?raw";

/** The section of the runbook that has that heading. Only links to the web stay links. */
export default function Runbook(props: { section: string; otherwise: string }) {
  const section = sectionOf(props.section);
  if (!section) return <p>{props.otherwise}</p>;
  return (
    <div className="runbook" lang="en">
      <Markdown components={{ a: Link, pre: Block }}>{section}</Markdown>
    </div>
  );
}

function sectionOf(name: string): string | undefined {
  const sections = text.split(/^## /m);
  const found = sections.find((each) => each.startsWith(`${name}\n`));
  return found?.slice(name.length);
}

/** The other links are relative to the file, and would lead to another page of the console. */
function Link({ href, children }: { href?: string | undefined; children?: React.ReactNode }) {
  return href?.startsWith("https://") ? <a href={href}>{children}</a> : <>{children}</>;
}

function Block({ children }: { children?: React.ReactNode }) {
  return <pre tabIndex={0}>{children}</pre>;
}

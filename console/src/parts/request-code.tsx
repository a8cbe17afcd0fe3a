/** A request as curl, Python and TypeScript, ready to copy. */

import { Tab, TabList, TabPanel, TabProvider } from "@ariakit/react";
import { ROOT } from "../address.js";
import { useTexts } from "../texts/index.js";
import { Copy } from "./copy.js";

export interface CodeOf {
  curl: string;
  Python: string;
  TypeScript: string;
}

export function RequestCode({ code }: { code: CodeOf }) {
  const texts = useTexts();
  return (
    <section aria-labelledby="request">
      <h2 id="request">{texts.request}</h2>
      <TabProvider>
        <TabList className="tabs" aria-label={texts.request}>
          {Object.keys(code).map((name) => (
            <Tab key={name} id={name} className="tab">
              {name}
            </Tab>
          ))}
        </TabList>
        {Object.entries(code).map(([name, text]) => (
          <TabPanel key={name} tabId={name} className="code">
            <Copy text={text} />
            <pre tabIndex={0} aria-label={name}>
              {text}
            </pre>
          </TabPanel>
        ))}
      </TabProvider>
    </section>
  );
}

const MOST = 20_000; // characters of a request that are shown

/** The code that posts this body. `files` are the inputs to which the user chose files. */
export function codeOfPost(body: object, files: Record<string, { name: string }> = {}): CodeOf {
  const json = shortened(pretty(body));
  const chosen = Object.entries(files);
  return {
    curl: lines(
      `curl ${ROOT}/api/v1/jobs \\`,
      `  -H "Authorization: Bearer $COMFYLINE_API_KEY" \\`,
      `  -H "Idempotency-Key: $(uuidgen)" -H "Content-Type: application/json" \\`,
      `  -d @- <<'JSON'`,
      json,
      "JSON",
    ),
    Python: lines(
      "import json",
      ...(chosen.length ? ["from pathlib import Path"] : []),
      "from comfyline.client import Comfyline",
      "",
      // JSON never has three quotes in a row, and a raw string keeps its backslashes.
      `body = json.loads(r"""${json}""")`,
      ...(chosen.length ? [`files = ${pythonFiles(chosen)}`] : []),
      `with Comfyline("${ROOT}") as client:  # the key is COMFYLINE_API_KEY`,
      `    job = client.submit(**body${chosen.length ? ", files=files" : ""})`,
      "    job.wait()",
      '    job.download("out")',
    ),
    TypeScript: lines(
      'import { Comfyline } from "@comfyline/client";',
      ...(chosen.length ? ['import { openAsBlob } from "node:fs";'] : []),
      "",
      `const client = new Comfyline({ url: "${ROOT}" }); // the key is COMFYLINE_API_KEY`,
      ...(chosen.length ? [`const files = ${typescriptFiles(chosen)};`] : []),
      `const job = await client.submit(${shortened(pretty(body, "n"))}${chosen.length ? ", { files }" : ""});`,
      "await job.wait();",
    ),
  };
}

/** The code that reads a job. */
export function codeOfGet(jobId: string): CodeOf {
  return {
    curl: lines(
      `curl ${ROOT}/api/v1/jobs/${jobId} \\`,
      `  -H "Authorization: Bearer $COMFYLINE_API_KEY"`,
    ),
    Python: lines(
      "from comfyline.client import Comfyline",
      "",
      `with Comfyline("${ROOT}") as client:  # the key is COMFYLINE_API_KEY`,
      `    job = client.get("${jobId}")`,
    ),
    TypeScript: lines(
      'import { Comfyline } from "@comfyline/client";',
      "",
      `const client = new Comfyline({ url: "${ROOT}" }); // the key is COMFYLINE_API_KEY`,
      `const job = await client.get("${jobId}");`,
    ),
  };
}

/** JSON with indentation. A large seed is a bigint, and keeps its digits; `suffix` follows them. */
export function pretty(value: unknown, suffix = "", indent = ""): string {
  if (typeof value === "bigint") return `${value}${suffix}`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  const deeper = `${indent}  `;
  const items = Object.entries(value)
    .filter(([, item]) => item !== undefined)
    .map(([name, item]) => {
      const text = pretty(item, suffix, deeper);
      return Array.isArray(value) ? text : `${JSON.stringify(name)}: ${text}`;
    });
  if (!items.length) return `${open}${close}`;
  return `${open}\n${deeper}${items.join(`,\n${deeper}`)}\n${indent}${close}`;
}

function pythonFiles(files: [string, { name: string }][]): string {
  const pairs = files.map(
    ([place, { name }]) => `${JSON.stringify(place)}: Path(${JSON.stringify(name)})`,
  );
  return `{${pairs.join(", ")}}`;
}

function typescriptFiles(files: [string, { name: string }][]): string {
  const pairs = files.map(
    ([place, { name }]) => `${JSON.stringify(place)}: await openAsBlob(${JSON.stringify(name)})`,
  );
  return `{ ${pairs.join(", ")} }`;
}

function shortened(text: string): string {
  return text.length > MOST ? `${text.slice(0, MOST)}…` : text;
}

function lines(...all: string[]): string {
  return all.join("\n");
}

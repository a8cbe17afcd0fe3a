// Checks an AsyncAPI document: node lint_asyncapi.mjs FILE
//
// This is the parser that `asyncapi validate` runs. The command line itself brings ten times as many
// packages. A remark that a newer version of AsyncAPI exists is no fault.

import { readFile } from "node:fs/promises";
import { Parser } from "@asyncapi/parser";

const ERROR_AND_WARNING = 1; // the parser's severities: 0 error, 1 warning, 2 remark, 3 hint
const [file] = process.argv.slice(2);
const { diagnostics } = await new Parser().parse(await readFile(file, "utf8"));
const faults = diagnostics.filter(({ severity }) => severity <= ERROR_AND_WARNING);
for (const { code, message, path } of faults) console.error(`${file}: ${path.join(".")}: ${message} (${code})`);
console.log(`${file}: ${faults.length} faults`);
process.exitCode = faults.length ? 1 : 0;

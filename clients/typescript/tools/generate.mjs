// Writes src/generated/ from the contract's documents: node tools/generate.mjs [FOLDER]
//
// Only the schemas are taken. AsyncAPI's are those of OpenAPI 3.1, so one tool reads both.

import { mkdir, readFile, writeFile } from "node:fs/promises";
import openapiTS, { astToString } from "openapi-typescript";
import ts from "typescript";

const CONTRACT = new URL("../../../docs/api/", import.meta.url);
const FOLDER = process.argv[2] ?? new URL("../src/generated", import.meta.url).pathname;

const { factory, SyntaxKind } = ts;
const NUMBER = factory.createKeywordTypeNode(SyntaxKind.NumberKeyword);
const BIGINT = factory.createKeywordTypeNode(SyntaxKind.BigIntKeyword);
const NULL = factory.createLiteralTypeNode(factory.createNull());

/** An integer of 64 bits is a number or a bigint; see src/core/json.ts. */
function transform(schema) {
  if (schema.format !== "int64") return undefined;
  const isNullable = schema.anyOf?.some(({ type }) => type === "null");
  return factory.createUnionTypeNode([NUMBER, BIGINT, ...(isNullable ? [NULL] : [])]);
}

/** Leave out the titles, which repeat the fields' names, and defaults that only say "optional". */
function withoutNoise(name, value) {
  if (name === "title" && typeof value === "string") return undefined;
  return name === "default" && value === null ? undefined : value;
}

async function generate(source, target) {
  const text = await readFile(new URL(source, CONTRACT), "utf8");
  const { components } = JSON.parse(text, withoutNoise);
  const { schemas } = components;
  const info = { title: source, version: "1" };
  const document = { openapi: "3.1.0", info, paths: {}, components: { schemas } };
  // A field of a request that has a default may be left out.
  const nodes = await openapiTS(document, { transform, defaultNonNullable: false, silent: true });
  const about = `// Generated from docs/api/${source} by \`npm run generate\`. Do not edit.\n\n`;
  await writeFile(`${FOLDER}/${target}`, about + astToString(nodes));
}

await mkdir(FOLDER, { recursive: true });
await generate("openapi.json", "http.ts");
await generate("asyncapi.json", "live.ts");

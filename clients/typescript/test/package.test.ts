/** What is published: its size, its dependencies, its types, and the examples of its pages. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import test from "node:test";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import ts from "typescript";

const PACKAGE = new URL("../../", import.meta.url);
const MOST_BYTES = 12 * 1024;
const DOCS = new URL("../../docs/", PACKAGE);
// Its example imports a client that a test generates: tests/e2e/test_generated_clients.py.
const EXCUSED = "guides/other-languages.md";

function read(path: string): string {
  return readFileSync(new URL(path, PACKAGE), "utf8");
}

test("everything together has less than 12 KB, compressed", async (t) => {
  const entry = 'export * from "./dist/index.js"; export * from "./dist/react.js";';
  const { outputFiles } = await build({
    stdin: { contents: entry, resolveDir: PACKAGE.pathname },
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    write: false,
    external: ["react"],
  });
  const bytes = gzipSync(outputFiles[0]!.contents, { level: 9 }).length;
  t.diagnostic(`${bytes} bytes`);
  assert.ok(bytes < MOST_BYTES, `${bytes} bytes`);
});

test("a page that only follows jobs can be built for browsers, without anything of Node", async () => {
  const built = await build({
    entryPoints: [new URL("dist/index.js", PACKAGE).pathname],
    bundle: true,
    platform: "browser",
    format: "iife",
    write: false,
    metafile: true,
  });
  const inputs = Object.keys(built.metafile.inputs);
  assert.deepEqual(
    inputs.filter((path) => !path.includes("dist/")),
    [],
  );
});

test("the package needs nothing at run time, and React only for its hooks", () => {
  const manifest = JSON.parse(read("package.json")) as Record<string, Record<string, unknown>>;
  assert.equal(manifest["dependencies"], undefined);
  assert.deepEqual(manifest["peerDependenciesMeta"], { react: { optional: true } });
  const sources = readdirSync(new URL("src", PACKAGE), { recursive: true, encoding: "utf8" });
  for (const path of sources.filter((name) => name.endsWith(".ts") && name !== "react.ts")) {
    const imported = [...read(`src/${path}`).matchAll(/ from "([^"]+)"/g)].map(([, name]) => name!);
    assert.deepEqual(
      imported.filter((name) => !name.startsWith(".")),
      [],
      path,
    );
  }
});

test("the core does no I/O: it imports only the core and the generated types", () => {
  for (const name of readdirSync(new URL("src/core", PACKAGE))) {
    const text = read(`src/core/${name}`);
    const imported = [...text.matchAll(/ from "([^"]+)"/g)].map(([, found]) => found!);
    assert.deepEqual(
      imported.filter((found) => !/^\.\/|^\.\.\/generated\//.test(found)),
      [],
      name,
    );
    assert.doesNotMatch(text, /\b(fetch|setTimeout|performance|new WebSocket)\b\(/, name);
  }
});

test("the lock file names no registry, so that every mirror serves", () => {
  assert.doesNotMatch(read("package-lock.json"), /"resolved"|\.tgz/);
});

test("the generated types are those of the contract's documents", () => {
  const folder = mkdtempSync(new URL(".test/generated-", PACKAGE).pathname);
  try {
    execFileSync(process.execPath, [new URL("tools/generate.mjs", PACKAGE).pathname, folder]);
    for (const name of readdirSync(new URL("src/generated", PACKAGE))) {
      assert.equal(
        readFileSync(`${folder}/${name}`, "utf8"),
        read(`src/generated/${name}`),
        `npm run generate: ${name}`,
      );
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

/** The samples that the OpenAPI document shows beside its operations. */
function samples(): { suffix: string; code: string }[] {
  interface Operation {
    "x-codeSamples": { lang: string; source: string }[];
  }
  const { paths } = JSON.parse(read("../../docs/api/openapi.json")) as {
    paths: Record<string, Record<string, Operation>>;
  };
  return Object.values(paths)
    .flatMap((methods) => Object.values(methods))
    .flatMap((operation) => operation["x-codeSamples"])
    .filter(({ lang }) => lang === "TypeScript")
    .map(({ source }) => ({ suffix: "ts", code: source }));
}

test("the examples of the pages compile, against the built package", () => {
  const folder = new URL(".test/examples/", PACKAGE).pathname;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const pages = readdirSync(DOCS, { recursive: true, encoding: "utf8" });
  const written = pages.filter((name) => name.endsWith(".md") && name !== EXCUSED);
  const texts = [...written.map((name) => `../../docs/${name}`), "README.md"].flatMap((page) =>
    [...read(page).matchAll(/```(tsx?)\n(.*?)```/gs)].map(([, suffix, code]) => ({ suffix, code })),
  );
  const files = [...texts, ...samples()].map(({ suffix, code }, number) => {
    const name = `${folder}${number}.${suffix}`;
    writeFileSync(name, `${code}\nexport {};\n`);
    return name;
  });
  assert.ok(files.length >= 20, `${files.length} examples`);
  const program = ts.createProgram(files, {
    strict: true,
    noEmit: true,
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    lib: ["lib.es2022.d.ts", "lib.dom.d.ts", "lib.dom.iterable.d.ts", "lib.dom.asynciterable.d.ts"],
    jsx: ts.JsxEmit.ReactJSX,
    types: ["node"],
  });
  const found = ts.getPreEmitDiagnostics(program).map(({ file, start, messageText }) => {
    const text = ts.flattenDiagnosticMessageText(messageText, "\n");
    return `${file?.fileName}:${file && start !== undefined ? file.getLineAndCharacterOfPosition(start).line + 1 : 0} ${text}`;
  });
  assert.deepEqual(found, []);
});

/** Workflows that a user pastes or drops, and the input files that they name. */

import { parseJson, writeJson } from "@comfyline/client";
import type { Texts } from "../texts/en.js";

export interface Graph {
  /** The text is sent unchanged, so that no digit is lost. */
  text: string;
  nodes: number;
  /** `<node>.<input>` of inputs that name a file, and the name. */
  files: { place: string; name: string; nodeType: string }[];
}

/** A workflow, or what is wrong with the text. A workflow may be wrapped in a `prompt` once. */
export function readGraph(text: string, texts: Texts, mayBeWrapped = true): Graph | string {
  let value: unknown;
  try {
    value = parseJson(text);
    if (mayBeWrapped && isObject(value) && isObject(value["prompt"]))
      return readGraph(writeJson(value["prompt"]), texts, false);
  } catch {
    return texts.notJson;
  }
  if (isObject(value) && Array.isArray(value["nodes"])) return texts.uiFormat;
  const nodes = isObject(value) ? Object.entries(value) : [];
  if (!nodes.length || !nodes.every(([, node]) => isNode(node))) return texts.notAGraph;
  return { text, nodes: nodes.length, files: nodes.flatMap(([id, node]) => filesOf(id, node)) };
}

// Inputs that loaders of ComfyUI and of usual packs take a file's name in.
const FILE_INPUT = /^(image|images|audio|video|file|mask|model_file|upload)$/;

function filesOf(id: string, node: unknown): Graph["files"] {
  const { class_type, inputs } = node as { class_type: string; inputs: object };
  if (!/load|input/i.test(class_type)) return [];
  return Object.entries(inputs)
    .filter(([name, value]) => FILE_INPUT.test(name) && typeof value === "string")
    .map(([name, value]) => ({
      place: `${id}.${name}`,
      name: value as string,
      nodeType: class_type,
    }));
}

function isNode(value: unknown): boolean {
  return isObject(value) && typeof value["class_type"] === "string" && isObject(value["inputs"]);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const MOST_BYTES = 64 * 1024 * 1024;

/** The text of a dropped file: JSON, or the workflow that ComfyUI wrote into a PNG. */
export async function graphText(file: File, texts: Texts): Promise<string> {
  if (file.size > MOST_BYTES) throw new Error(texts.fileTooLarge);
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (!isPng(bytes)) return new TextDecoder().decode(bytes);
  const text = pngText(bytes, "prompt");
  if (text === undefined) throw new Error(texts.noGraphInside);
  return text;
}

const PNG = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

function isPng(bytes: Uint8Array): boolean {
  return PNG.every((byte, n) => bytes[n] === byte);
}

/** The text of that keyword in a PNG's tEXt chunks, which are Latin-1 (PNG 11.3.4.3). */
function pngText(bytes: Uint8Array, keyword: string): string | undefined {
  const view = new DataView(bytes.buffer);
  for (let at = PNG.length; at + 12 <= bytes.length;) {
    const length = view.getUint32(at);
    const type = latin1(bytes.subarray(at + 4, at + 8));
    if (type === "tEXt") {
      const content = latin1(bytes.subarray(at + 8, Math.min(at + 8 + length, bytes.length)));
      const end = content.indexOf("\0");
      if (content.slice(0, end) === keyword) return content.slice(end + 1);
    }
    at += length + 12;
  }
  return undefined;
}

function latin1(bytes: Uint8Array): string {
  // TextDecoder's "latin1" is Windows-1252, which differs in some characters.
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

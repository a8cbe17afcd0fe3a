/**
 * JSON whose integers keep their value.
 *
 * ComfyUI's seeds have 64 bits, and a JavaScript number holds 53 of them. JSON.parse rounds a larger
 * integer without an error, so that "the same seed, the same picture" becomes false. Here such an
 * integer is read as a bigint, and a bigint is written as the integer that it is.
 */

const NUMBER = /-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?/g;
const NOT_JSON = /-?\bInfinity\b|\bNaN\b/g;
const LONG = /\d{16}/; // 2^53 has 16 digits
const FIRST_WITH_EXPONENT = 1e21; // JavaScript writes larger numbers as floats

/** The text's value. An integer that a number cannot hold is a bigint. */
export function parseJson(text: string): unknown {
  if (!LONG.test(text)) return JSON.parse(text);
  const mark = randomName();
  const marked = replaceOutsideStrings(text, NUMBER, (token) =>
    isUnsafe(token) ? `{"${mark}":"${token}"}` : token,
  );
  return JSON.parse(marked, (_name, value) => {
    const digits: unknown = isObject(value) ? value[mark] : undefined;
    return typeof digits === "string" ? BigInt(digits) : value;
  });
}

/**
 * The value as JSON. A bigint becomes an integer, and a `JsonText` stands for itself.
 *
 * @throws TypeError a number has probably lost digits already, or JSON cannot express it.
 */
export function writeJson(value: unknown): string {
  const mark = randomName();
  const texts: string[] = [];
  const marked = JSON.stringify(value, (name, item: unknown) => {
    if (typeof item === "number") return checked(name, item);
    if (typeof item !== "bigint" && !(item instanceof JsonText)) return item;
    return { [mark]: texts.push(String(item)) - 1 };
  });
  if (!texts.length) return marked;
  return marked.replace(new RegExp(`\\{"${mark}":(\\d+)\\}`, "g"), (_, n) => texts[Number(n)]!);
}

/** One JSON object as text, written as it is. ComfyUI's `NaN` and `Infinity` are allowed. */
export class JsonText {
  readonly #text: string;

  /** @throws TypeError the text is not one JSON object. */
  constructor(text: string) {
    this.#text = text;
    let value: unknown;
    try {
      value = JSON.parse(replaceOutsideStrings(text, NOT_JSON, () => "null"));
    } catch (cause) {
      throw new TypeError(`the workflow is not JSON: ${(cause as Error).message}`, { cause });
    }
    if (!isObject(value) || Array.isArray(value)) throw new TypeError("the workflow is no object");
  }

  toString(): string {
    return this.#text;
  }
}

/** Whether the value has properties. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

/** A name that nobody can guess, for example an Idempotency-Key. */
export function randomName(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(24));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * The text with each match changed that is not inside a string.
 *
 * One pattern for strings and numbers would be shorter, but JavaScriptCore (Safari, Bun) gives up on
 * a string of megabytes, and reports that as no match.
 */
function replaceOutsideStrings(
  text: string,
  pattern: RegExp,
  change: (match: string) => string,
): string {
  const pieces: string[] = [];
  for (let at = 0; at < text.length;) {
    const begin = indexOrEnd(text, at);
    let end = indexOrEnd(text, begin + 1);
    while (isEscaped(text, end)) end = indexOrEnd(text, end + 1);
    pieces.push(text.slice(at, begin).replace(pattern, change), text.slice(begin, end + 1));
    at = end + 1;
  }
  return pieces.join("");
}

/** Where the next quote is, or the text's end. */
function indexOrEnd(text: string, from: number): number {
  const index = text.indexOf('"', from);
  return index < 0 ? text.length : index;
}

/** Whether an odd number of backslashes is before a quote. */
function isEscaped(text: string, quote: number): boolean {
  let first = quote;
  while (text[first - 1] === "\\") first -= 1;
  return quote < text.length && (quote - first) % 2 === 1;
}

function isUnsafe(token: string): boolean {
  return /^-?\d+$/.test(token) && !Number.isSafeInteger(Number(token));
}

function checked(name: string, value: number): number {
  if (!Number.isFinite(value))
    throw new TypeError(`${name} is ${value}, which JSON cannot express`);
  const isSure = !Number.isInteger(value) || Number.isSafeInteger(value);
  if (isSure || Math.abs(value) >= FIRST_WITH_EXPONENT) return value;
  throw new TypeError(
    `${name} is ${value}, which is above 2^53, so JavaScript may have changed it. ` +
      "Pass a bigint, read the value with parseJson, or pass the workflow as text.",
  );
}

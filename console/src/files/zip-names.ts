/** Names within an archive: safe on every system, and each once. */

// Bytes of a stem and of an extension. Most systems allow 255, and a clash adds a number.
const MOST_STEM = 200;
const MOST_EXTENSION = 40;
// Control and formatting characters, halves of surrogate pairs, and what has a meaning in paths.
const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029"*/:<>?\\|]/gu;
// Windows keeps these names for devices, with any extension, and with spaces before it.
const DEVICE = /^(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[\d¹²³]) *(\.|$)/i;
// Windows leaves these out at the end of a name, so that two names would be one.
const LEFT_OUT = /^[. ]+|[. ]+$/g;

/** The names of the files in their order. */
export function zipNames(names: string[]): string[] {
  const taken = new Set<string>();
  return names.map((name) => {
    const safe = safeName(name);
    const [stem, extension] = parts(safe);
    let unique = safe;
    for (let n = 2; taken.has(same(unique)); n++) unique = `${stem} (${n})${extension}`;
    taken.add(same(unique));
    return unique;
  });
}

/** Systems differ in capitals and in how letters are composed. */
function same(name: string): string {
  return name.normalize("NFKC").toLowerCase();
}

function safeName(name: string): string {
  const [stem, extension] = parts(name.replace(UNSAFE, "_").replace(LEFT_OUT, "_"));
  const short = (cut(stem, MOST_STEM) + cut(extension, MOST_EXTENSION)).replace(LEFT_OUT, "_");
  if (!short) return "file";
  return DEVICE.test(short) ? `_${short}` : short;
}

/** The first letters of a text that have at most so many bytes. */
function cut(text: string, most: number): string {
  const bytes = new Uint8Array(most);
  const { read } = new TextEncoder().encodeInto(text, bytes);
  return text.slice(0, read);
}

function parts(name: string): [stem: string, extension: string] {
  const dot = name.lastIndexOf(".");
  return dot > 0 ? [name.slice(0, dot), name.slice(dot)] : [name, ""];
}

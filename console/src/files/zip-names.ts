/** Names within an archive: safe on every system, and each once. */

const MOST = 120; // letters; with the number of a clash the name stays below 255 bytes in most scripts
// Control and formatting characters, halves of surrogate pairs, and what has a meaning in paths.
const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029"*/:<>?\\|]/gu;
// Windows keeps these names for devices, with any extension.
const DEVICE = /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i;

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
  const plain = name.replace(UNSAFE, "_").replace(/^[. ]+|[. ]+$/g, "_");
  const [stem, extension] = parts(plain);
  const short = `${[...stem].slice(0, MOST).join("")}${extension.slice(0, 20)}`;
  if (!short) return "file";
  return DEVICE.test(short) ? `_${short}` : short;
}

function parts(name: string): [stem: string, extension: string] {
  const dot = name.lastIndexOf(".");
  return dot > 0 ? [name.slice(0, dot), name.slice(dot)] : [name, ""];
}

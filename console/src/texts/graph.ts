const en = {
  title: "Workflow",
  tooLarge: (bytes: string) => `The workflow has ${bytes}. It is too large to be shown.`,
  summary: (n: number, done: number) => `${done} of ${n} nodes are done`,
  cached: (n: number) => `${n} taken from an earlier run`,
  picture: "Picture of the workflow",
  keys: "Arrow keys move the picture, plus and minus change its size, 0 shows all of it.",
  larger: "Larger",
  smaller: "Smaller",
  whole: "Show all",
  plain: "The workflow has many nodes, so they are sorted by their order alone.",
  cut: (n: number) => `Only the first ${n} nodes are shown.`,
  list: "Nodes as a list",
  takes: (names: string) => `takes from ${names}`,
  states: {
    waiting: "waits",
    running: "runs",
    done: "done",
    cached: "from an earlier run",
    failed: "failed",
    unknown: "not known",
  },
};

const de: typeof en = {
  title: "Workflow",
  tooLarge: (bytes) => `Der Workflow hat ${bytes}. Er ist zu groß, um gezeigt zu werden.`,
  summary: (n, done) => `${done} von ${n} Knoten sind fertig`,
  cached: (n) => `${n} aus einem früheren Lauf`,
  picture: "Bild des Workflows",
  keys: "Pfeiltasten bewegen das Bild, Plus und Minus ändern die Größe, 0 zeigt alles.",
  larger: "Größer",
  smaller: "Kleiner",
  whole: "Alles zeigen",
  plain: "Der Workflow hat viele Knoten, deshalb sind sie nur nach ihrer Reihenfolge angeordnet.",
  cut: (n) => `Nur die ersten ${n} Knoten werden gezeigt.`,
  list: "Knoten als Liste",
  takes: (names) => `nimmt von ${names}`,
  states: {
    waiting: "wartet",
    running: "läuft",
    done: "fertig",
    cached: "aus einem früheren Lauf",
    failed: "fehlgeschlagen",
    unknown: "nicht bekannt",
  },
};

export const graphTexts = { en, de };

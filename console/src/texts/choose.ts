/** The texts about several jobs that are chosen at once. */

const jobs = (n: number) => (n === 1 ? "1 job" : `${n} jobs`);

const en = {
  choose: (title: string) => `Choose ${title}`,
  bar: "Chosen jobs",
  chosen: (n: number) =>
    n === 0 ? "No job is chosen." : n === 1 ? "1 job is chosen." : `${n} jobs are chosen.`,
  keys: "Shift chooses a range, with a click or the arrow keys. Ctrl+A chooses all that are loaded, Escape none.",
  all: (n: number) => `Choose all ${n}`,
  none: "Choose none",
  zip: (n: number) => `Download files (${n})`,
  cancel: (n: number) => `Cancel (${n})`,
  retry: (n: number) => `Retry (${n})`,
  compare: "Compare",
  noTwoPictures: "These jobs have no two pictures.",
  stop: "Stop",
  close: "Close",
  results: "Results",
  running: {
    zip: (done: number, n: number) => `The files of ${done} of ${jobs(n)} are saved …`,
    cancel: (done: number, n: number) => `${done} of ${jobs(n)} done …`,
    retry: (done: number, n: number) => `${done} of ${jobs(n)} done …`,
  },
  ended: {
    zip: (good: number, n: number) => `The files of ${good} of ${jobs(n)} are in the archive.`,
    cancel: (good: number, n: number) => `${good} of ${jobs(n)} will be canceled.`,
    retry: (good: number, n: number) => `${good} of ${jobs(n)} were accepted again.`,
  },
  stopped: "You have stopped this. What was done stays.",
  noArchive: "No file could be read, so there is no archive.",
  tooLarge: (most: string) =>
    `The files have more than ${most}, more than this browser can collect. Choose fewer jobs, or ` +
    "use a browser that can write to a file, such as Chrome or Edge.",
  unread: (name: string) => `${name} could not be read and is missing in the archive.`,
  done: { zip: "saved", cancel: "canceled", retry: "accepted again" },
  madeJob: "new job",
  further: (n: number) => `and ${n} more`,
};

const anzahl = (n: number) => (n === 1 ? "1 Job" : `${n} Jobs`);

const de: typeof en = {
  choose: (title) => `${title} auswählen`,
  bar: "Ausgewählte Jobs",
  chosen: (n) =>
    n === 0
      ? "Kein Job ist ausgewählt."
      : n === 1
        ? "1 Job ist ausgewählt."
        : `${n} Jobs sind ausgewählt.`,
  keys: "Umschalt wählt einen Bereich, mit Klick oder Pfeiltasten. Strg+A wählt alle geladenen, Escape keinen.",
  all: (n) => `Alle ${n} auswählen`,
  none: "Keinen auswählen",
  zip: (n) => `Dateien herunterladen (${n})`,
  cancel: (n) => `Abbrechen (${n})`,
  retry: (n) => `Wiederholen (${n})`,
  compare: "Vergleichen",
  noTwoPictures: "Diese Jobs haben keine zwei Bilder.",
  stop: "Anhalten",
  close: "Schließen",
  results: "Ergebnisse",
  running: {
    zip: (done, n) => `Die Dateien von ${done} der ${anzahl(n)} sind gespeichert …`,
    cancel: (done, n) => `${done} von ${anzahl(n)} erledigt …`,
    retry: (done, n) => `${done} von ${anzahl(n)} erledigt …`,
  },
  ended: {
    zip: (good, n) => `Im Archiv sind die Dateien von ${good} der ${anzahl(n)}.`,
    cancel: (good, n) => `${good} von ${anzahl(n)} werden abgebrochen.`,
    retry: (good, n) => `${good} von ${anzahl(n)} wurden erneut angenommen.`,
  },
  stopped: "Du hast das angehalten. Was getan ist, bleibt.",
  noArchive: "Keine Datei konnte gelesen werden, deshalb gibt es kein Archiv.",
  tooLarge: (most) =>
    `Die Dateien haben mehr als ${most}, mehr als dieser Browser sammeln kann. Wähle weniger Jobs ` +
    "oder einen Browser, der in eine Datei schreiben kann, etwa Chrome oder Edge.",
  unread: (name) => `${name} konnte nicht gelesen werden und fehlt im Archiv.`,
  done: { zip: "gespeichert", cancel: "abgebrochen", retry: "erneut angenommen" },
  madeJob: "neuer Job",
  further: (n) => `und ${n} weitere`,
};

export const chooseTexts = { en, de };

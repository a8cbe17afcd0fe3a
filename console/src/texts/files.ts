const en = {
  compare: "Compare",
  comparePick: (name: string) => `Compare ${name}`,
  picked: (name: string) => `${name} is chosen. Choose another picture, also one of another job.`,
  unpick: "Cancel",
  compareTitle: "Compare two pictures",
  sideBySide: "Side by side",
  slider: "Slider",
  way: "How the pictures are compared",
  border: "Border between the pictures, in percent from the left",
  exchange: "Exchange",
  left: "Left",
  right: "Right",
  differences: "Parameters that differ",
  noDifferences: "Both jobs have the same parameters.",
  samePicture: "A picture is missing. Choose two pictures at the files of their jobs.",

  zip: (n: number, size: string) => `Download all (${n} files, ${size})`,
  zipping: (done: number, n: number) => `${done} of ${n} files are saved`,
  zipped: "All files are saved.",
  stop: "Stop",
  zipTooLarge: (size: string, most: string) =>
    `The files have ${size}. This browser can collect ${most} at most. Use a browser that ` +
    "can write to a file, such as Chrome or Edge, or run comfyline download.",
  zipFailed: (name: string) => `${name} could not be read, so there is no archive. Try again.`,

  show3d: "Show in 3D",
  model3d: (name: string) =>
    `${name}. Arrow keys turn it, plus and minus change the distance, 0 shows it as at first.`,
  cannotShow3d: "This file cannot be shown in 3D. Download it to open it in another program.",
  tooLarge3d: (most: string) => `The file has more than ${most}, too much to show it in 3D.`,
};

const de: typeof en = {
  compare: "Vergleichen",
  comparePick: (name) => `${name} vergleichen`,
  picked: (name) => `${name} ist gewählt. Wähle ein weiteres Bild, auch eines anderen Jobs.`,
  unpick: "Abbrechen",
  compareTitle: "Zwei Bilder vergleichen",
  sideBySide: "Nebeneinander",
  slider: "Schieberegler",
  way: "Wie die Bilder verglichen werden",
  border: "Grenze zwischen den Bildern, in Prozent von links",
  exchange: "Tauschen",
  left: "Links",
  right: "Rechts",
  differences: "Parameter, die sich unterscheiden",
  noDifferences: "Beide Jobs haben dieselben Parameter.",
  samePicture: "Ein Bild fehlt. Wähle zwei Bilder bei den Dateien ihrer Jobs.",

  zip: (n, size) => `Alle herunterladen (${n} Dateien, ${size})`,
  zipping: (done, n) => `${done} von ${n} Dateien sind gespeichert`,
  zipped: "Alle Dateien sind gespeichert.",
  stop: "Anhalten",
  zipTooLarge: (size, most) =>
    `Die Dateien haben ${size}. Dieser Browser kann höchstens ${most} sammeln. Verwende einen ` +
    "Browser, der in eine Datei schreiben kann, etwa Chrome oder Edge, oder comfyline download.",
  zipFailed: (name) =>
    `${name} konnte nicht gelesen werden, deshalb gibt es kein Archiv. Versuche es erneut.`,

  show3d: "In 3D zeigen",
  model3d: (name) =>
    `${name}. Pfeiltasten drehen, Plus und Minus ändern den Abstand, 0 zeigt den Anfang.`,
  cannotShow3d:
    "Diese Datei kann nicht in 3D gezeigt werden. Lade sie herunter, um sie anders zu öffnen.",
  tooLarge3d: (most) => `Die Datei hat mehr als ${most}, zu viel für die Anzeige in 3D.`,
};

export const filesTexts = { en, de };

/** The part of a drawing that is shown: moved and resized by pointer and keyboard. */

import { useEffect, useRef, useState } from "react";

export interface Window {
  x: number;
  y: number;
  /** How many units of the drawing are shown; the height follows from the element's shape. */
  width: number;
  height: number;
}

const STEP = 1.25;
const LARGEST = 4; // pixels for a unit
const SMALLEST_READ = 1.7; // units for a pixel
const MARGIN = 20;

/** The window, and the handlers of the element that shows it. */
export function useWindow(width: number, height: number) {
  const element = useRef<SVGSVGElement>(null);
  const pointers = useRef(new Map<number, { x: number; y: number }>());
  const [shown, setShown] = useState<Window>({ x: 0, y: 0, width, height });
  useEffect(() => showStart(), [width, height]);

  function size() {
    const box = element.current!.getBoundingClientRect();
    return { width: Math.max(box.width, 1), height: Math.max(box.height, 1), box };
  }

  /** The whole drawing, in the shape of the element. */
  function whole(): Window {
    const { width: w, height: h } = size();
    const unit = Math.max(width / w, height / h, 1 / 1.5) * 1.04;
    const next = { width: w * unit, height: h * unit };
    return { x: (width - next.width) / 2, y: (height - next.height) / 2, ...next };
  }

  /** All of it; where that would be too small to read, as on a phone, the beginning. */
  function showStart() {
    const all = whole();
    const most = size().width * SMALLEST_READ;
    if (all.width <= most) return setShown(all);
    const shown = { width: most, height: (all.height * most) / all.width };
    return setShown({ x: -MARGIN, y: (height - shown.height) / 2, ...shown });
  }

  function showAll() {
    setShown(whole());
  }

  /** Resizes by `factor`; the point at the place of the element stays where it is. */
  function resize(factor: number, place = { x: 0.5, y: 0.5 }) {
    const most = whole().width * 1.5;
    const least = size().width / LARGEST;
    setShown((old) => {
      const next = Math.min(Math.max(old.width * factor, least), most);
      const grown = next / old.width;
      return {
        x: old.x + place.x * old.width * (1 - grown),
        y: old.y + place.y * old.height * (1 - grown),
        width: next,
        height: old.height * grown,
      };
    });
  }

  /** Moves by parts of the window; the middle stays within the drawing. */
  function move(dx: number, dy: number) {
    setShown((old) => ({
      ...old,
      x: within(old.x + dx * old.width, -old.width / 2, width - old.width / 2),
      y: within(old.y + dy * old.height, -old.height / 2, height - old.height / 2),
    }));
  }

  const keys: Record<string, () => void> = {
    ArrowLeft: () => move(-0.1, 0),
    ArrowRight: () => move(0.1, 0),
    ArrowUp: () => move(0, -0.1),
    ArrowDown: () => move(0, 0.1),
    "+": () => resize(1 / STEP),
    "-": () => resize(STEP),
    "0": showAll,
  };

  const place = (event: { clientX: number; clientY: number }) => {
    const { box } = size();
    return { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height };
  };

  // React listens to the wheel passively, so that the page would be resized too.
  useEffect(() => {
    const svg = element.current!;
    const turned = (event: WheelEvent) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      resize(Math.exp(event.deltaY / 300), place(event));
    };
    svg.addEventListener("wheel", turned, { passive: false });
    return () => svg.removeEventListener("wheel", turned);
  }, [width, height]);

  return {
    shown,
    showAll,
    larger: () => resize(1 / STEP),
    smaller: () => resize(STEP),
    handlers: {
      ref: element,
      onKeyDown: (event: React.KeyboardEvent) => {
        if (event.ctrlKey || event.metaKey || event.altKey) return;
        const act = keys[event.key];
        if (act) event.preventDefault();
        act?.();
      },
      onPointerDown: (event: React.PointerEvent) => {
        event.currentTarget.setPointerCapture(event.pointerId);
        pointers.current.set(event.pointerId, place(event));
      },
      onPointerMove: (event: React.PointerEvent) => {
        const before = pointers.current.get(event.pointerId);
        if (!before) return;
        const now = place(event);
        const other = [...pointers.current].find(([id]) => id !== event.pointerId)?.[1];
        if (other) resize(distance(before, other) / Math.max(distance(now, other), 0.01), other);
        else move(before.x - now.x, before.y - now.y);
        pointers.current.set(event.pointerId, now);
      },
      onPointerUp: (event: React.PointerEvent) => pointers.current.delete(event.pointerId),
      onPointerCancel: (event: React.PointerEvent) => pointers.current.delete(event.pointerId),
    },
  };
}

function within(value: number, least: number, most: number): number {
  return Math.min(Math.max(value, least), most);
}

function distance(a: { x: number; y: number }, b: { x: number; y: number }): number {
  return Math.hypot(a.x - b.x, a.y - b.y);
}

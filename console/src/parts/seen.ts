import { useEffect, useState } from "react";

type Told = (isNear: boolean) => void;

// One observer for all elements, because a list may have thousands.
const told = new WeakMap<Element, Told>();
const observer = new IntersectionObserver(
  (entries) => entries.forEach(({ target, isIntersecting }) => told.get(target)?.(isIntersecting)),
  { rootMargin: "300px" },
);

/** Whether the element is in the window or near it. */
export function useIsNear(place: React.RefObject<HTMLElement | null>): boolean {
  const [isNear, setNear] = useState(false);
  useEffect(() => {
    const element = place.current!;
    told.set(element, setNear);
    observer.observe(element);
    return () => observer.unobserve(element);
  }, []);
  return isNear;
}

/** True from when the element first comes near the window. */
export function useIsSeen(place: React.RefObject<HTMLElement | null>): boolean {
  const isNear = useIsNear(place);
  const [isSeen, setSeen] = useState(false);
  if (isNear && !isSeen) setSeen(true);
  return isSeen || isNear;
}

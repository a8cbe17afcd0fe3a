import { useEffect, useState } from "react";

/** True from when the element first comes near the window. */
export function useIsSeen(place: React.RefObject<HTMLElement | null>): boolean {
  const [isSeen, setSeen] = useState(false);
  useEffect(() => {
    if (isSeen) return undefined;
    const observer = new IntersectionObserver(([entry]) => entry?.isIntersecting && setSeen(true), {
      rootMargin: "300px",
    });
    observer.observe(place.current!);
    return () => observer.disconnect();
  }, [isSeen]);
  return isSeen;
}

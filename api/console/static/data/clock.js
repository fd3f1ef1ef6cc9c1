/**
 * The present, once a second, for what counts: all components share one timer, which stops while nobody looks.
 */
import { useEffect, useState } from "../base/ui.js";

/** @type {Set<(now: number) => void>} */
const watchers = new Set();
/** @type {ReturnType<typeof setInterval> | undefined} */
let timer;

function tick() {
  if (!document.hidden) for (const watcher of [...watchers]) watcher(Date.now());
}

/**
 * @param {boolean} [runs] whether it is needed
 * @returns {number} milliseconds since 1970
 */
export function useNow(runs = true) {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    if (!runs) return undefined;
    setNow(Date.now());
    watchers.add(setNow);
    timer ??= setInterval(tick, 1000);
    return () => {
      watchers.delete(setNow);
      if (!watchers.size) {
        clearInterval(timer);
        timer = undefined;
      }
    };
  }, [runs]);
  return now;
}

/** The records of an instance in the event log, read part by part, each shown as soon as it is there. */
import { useEffect, useState } from "../base/ui.js";
import { getLog } from "./resources.js";

/**
 * @typedef {import("./resources.js").Json} Json
 * @typedef {{records: Json[], share: number, done: boolean, error: Error | null}} Log `share` of the log that was read, 0 to 1
 */

/** @type {Log} */
const NOTHING = { records: [], share: 0, done: false, error: null };

/**
 * @param {string} id of the instance
 * @param {unknown} again when it changes, all is read again
 * @returns {Log}
 */
export function useLog(id, again) {
  const [log, setLog] = useState(NOTHING);
  useEffect(() => {
    const ending = new AbortController();
    setLog(NOTHING);
    void read(id, setLog, ending.signal);
    return () => ending.abort();
  }, [id, again]);
  return log;
}

/**
 * @param {string} id
 * @param {(log: Log) => void} show
 * @param {AbortSignal} signal
 */
async function read(id, show, signal) {
  /** @type {Json[]} */
  const records = [];
  let cursor = "";
  try {
    do {
      const part = await getLog(id, cursor, signal);
      if (signal.aborted) return;
      records.push(...part.records);
      cursor = part.next ?? "";
      const share = cursor ? (part.readTo - part.from) / Math.max(part.to - part.from, 1) : 1;
      show({ records: [...records], share, done: !cursor, error: null });
    } while (cursor);
  } catch (error) {
    if (!signal.aborted) show({ records, share: 1, done: true, error: /** @type {Error} */ (error) });
  }
}

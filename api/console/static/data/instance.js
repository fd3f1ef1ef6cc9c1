/**
 * An instance with its history, kept fresh.
 */
import { useRef } from "../base/ui.js";
import { stageNumbers } from "../domain/timeline.js";
import { useLive } from "./live.js";
import { getActivities, getHistory, getInstance, instancePath } from "./resources.js";

/** Pause between two reads of an instance that changes. */
const EVERY_MS = 1000;

/**
 * @param {string} id
 * @returns {import("./live.js").Live<import("../domain/timeline.js").View>}
 */
export function useInstance(id) {
  const before = useRef(/** @type {import("../domain/timeline.js").View | undefined} */ (undefined));
  return useLive(
    async (signal) => (before.current = await look(id, before.current, signal)),
    [id],
    { every: EVERY_MS, stream: { path: instancePath(id) + "/stream" } },
  );
}

/**
 * Read it. The instance comes first: if it has ended, what is read after it is complete. Activities of a stage that had
 * ended before are not read again.
 * @param {string} id
 * @param {import("../domain/timeline.js").View | undefined} before
 * @param {AbortSignal} signal
 */
async function look(id, before, signal) {
  const instance = await getInstance(id, signal);
  const history = await getHistory(id, signal);
  const numbers = stageNumbers(instance, history);
  const activities = await Promise.all(history.map(async (stage, index) => {
    const known = before?.history[index];
    const same = known?.terminated && known.startedAt === stage.startedAt;
    if (same && before) return before.activities[index];
    const all = await getActivities(id, numbers[index], signal);
    return all.filter((activity) => activity.retries === stage.retries); // after a retry, a stage has run several times
  }));
  return { instance, history, activities };
}

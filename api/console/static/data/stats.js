/** Statistics of a period, kept fresh. */
import { PERIODS } from "../domain/filters.js";
import { useLive } from "./live.js";
import { getStats } from "./resources.js";

const EVERY_MS = 5000;

/** Periods that are cut into days; shorter ones have hours. */
const BY_DAY = ["30d"];

/**
 * @param {string} period
 * @param {string} [workflowID] all workflows without
 * @returns {import("./live.js").Live<import("./resources.js").Json>}
 */
export function useStats(period, workflowID) {
  return useLive((signal) => {
    const from = new Date(Date.now() - PERIODS[period]).toISOString();
    return getStats({ workflowID, from, step: BY_DAY.includes(period) ? "day" : "hour" }, signal);
  }, [period, workflowID], { every: EVERY_MS });
}

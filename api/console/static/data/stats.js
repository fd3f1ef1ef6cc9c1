/** Statistics of a period and present counts, kept fresh. */
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

/**
 * How many instances are in which state now.
 * @param {string} workflowID `""` for all workflows
 * @param {boolean} wanted
 * @returns {import("./live.js").Live<Record<string, number>>}
 */
export function useCounts(workflowID, wanted) {
  return useLive(wanted ? async (signal) => {
    const from = new Date(Date.now() - PERIODS["1h"]).toISOString();
    return (await getStats({ workflowID, from, step: "hour" }, signal)).states;
  } : null, [workflowID], { every: EVERY_MS });
}

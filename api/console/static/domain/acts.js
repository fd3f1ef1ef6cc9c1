/**
 * What a person can do to an instance, and why not at the moment.
 */
import { words } from "../base/words.js";
import * as session from "../data/session.js";
import { pauseOf, stateOf } from "./states.js";

/**
 * @typedef {import("../data/resources.js").Json} Json
 * @typedef {"event" | "resume" | "retry" | "abort"} ActName
 */

/** @type {ActName[]} */
export const ACTS = ["event", "resume", "retry", "abort"];

/** What can be done to many at once. */
export const BULK_ACTS = ["abort", "resume", "retry"];

/** What is probably meant for instances in these states. @param {string[]} states @returns {string} */
export function bulkActFor(states) {
  if (states.includes("paused")) return "resume";
  return states.some((state) => state === "failed" || state === "aborted") ? "retry" : "abort";
}

/**
 * Why something can't be done now.
 * @param {ActName} act
 * @param {Json} instance
 * @returns {string} `""` if it can
 */
export function obstacle(act, instance) {
  if (!session.mayWrite()) return words.acts.not.readOnly;
  switch (act) {
    case "event":
    case "abort":
      return instance.terminated ? `${words.acts.not.ended} ${words.states[stateOf(instance)]}.` : "";
    case "resume":
      return pauseOf(instance) ? "" : words.acts.not.notPaused;
    case "retry":
      if (!instance.terminated) return words.acts.not.runs;
      return stateOf(instance) === "succeeded" ? words.acts.not.succeeded : "";
  }
}

/** What helps most in the present state. @param {Json} instance @returns {ActName | null} */
export function helpful(instance) {
  const acts = /** @type {Record<string, ActName>} */ ({ waiting: "event", paused: "resume", failed: "retry", aborted: "retry" });
  return acts[stateOf(instance)] ?? null;
}

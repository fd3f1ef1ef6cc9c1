/**
 * The state of an instance, and what it waits for.
 */

/** @typedef {import("../data/resources.js").Json} Json */

/** What has not ended, and what has. */
export const LIVE = ["running", "waiting", "delayed", "retrying", "paused"];
export const ENDED = ["succeeded", "failed", "aborted"];
export const STATES = [...LIVE, ...ENDED];

/** States that a person has to do something about. */
export const NEEDS_PERSON = ["paused", "failed"];

/** The error of what was aborted. */
export const CANCELED = "canceled";

/** @type {Record<string, string>} */
const BY_REASON = { event: "waiting", delay: "delayed", retry: "retrying", resume: "paused" };

/** @param {Json} instance @returns {string} */
export function stateOf(instance) {
  if (instance.state) return instance.state;
  if (instance.unreadable) return "unknown";
  if (!instance.terminated) return BY_REASON[instance.waiting?.for] ?? "running";
  if (!instance.error) return "succeeded";
  return instance.error === CANCELED ? "aborted" : "failed";
}

/** @param {Json} step a stage or an activity of a history @returns {string} */
export function stepState(step) {
  if (step.paused) return "paused";
  if (!step.terminated) return step.lastFailure ? "retrying" : "running";
  if (!step.error) return "succeeded";
  return step.error === CANCELED ? "aborted" : "failed";
}

/** The pause that a person can end; null without one. @param {Json} instance */
export function pauseOf(instance) {
  for (const status of instance.status ?? []) {
    const [pending] = status.pendingActivities ?? [];
    if (pending && !instance.terminated) return { stage: status.stage, ...pending };
  }
  return null;
}

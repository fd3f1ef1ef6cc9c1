/**
 * An instance as steps in time: stages with their activities, done and to come.
 */
import { exact } from "../base/formats.js";
import { words } from "../base/words.js";
import { fieldsOf, kindOf } from "./definitions.js";
import { activityAbout, activityText, stageText } from "./descriptions.js";
import { CANCELED, stateOf, stepState } from "./states.js";

/**
 * @typedef {import("../data/resources.js").Json} Json
 * @typedef {{
 *   key: string, level: 0 | 1, state: string, title: string, about: string, technicalName: string,
 *   start: number | null, end: number | null, next: number | null,
 *   stage: number, step: Json | null, written: Json | null,
 * }} Step `start`, `end`, `next` in milliseconds since 1970: null `start` for what has not begun, null `end` for what goes
 *   on; `next` is when it is tried again
 * @typedef {{instance: Json, history: Json[], activities: Json[][]}} View
 */

/**
 * All steps in order.
 * @param {View} view
 * @returns {Step[]}
 */
export function stepsOf({ instance, history, activities }) {
  const stages = instance.workflow?.config?.stages ?? [];
  const variables = instance.variables ?? {};
  const numbers = stageNumbers(instance, history);
  const ofPasses = inTheirPasses(history, numbers, activities);
  const begun = history.flatMap((step, index) => [
    stageStep(step.terminated ? step : { ...step, state: stateOf(instance) }, index, numbers[index], stages[numbers[index]], variables,
      numbers.indexOf(numbers[index]) < index),
    ...ofPasses[index].map((activity, number) => activityStep(activity, index, numbers[index], number)),
  ]);
  const reached = numbers.length ? Math.max(...numbers) + 1 : 0;
  const state = instance.terminated ? "skipped" : "todo";
  const toCome = stages.slice(reached).map((/** @type {Json} */ stage, /** @type {number} */ index) => ({
    ...stageStep(null, index + reached, index + reached, stage, variables), key: `todo-${index + reached}`, state,
  }));
  return [...begun, ...toCome];
}

/**
 * The number of the stage that each entry of the history is about: after a retry, a stage has several entries.
 * @param {Json} instance
 * @param {Json[]} history
 * @returns {number[]}
 */
export function stageNumbers(instance, history) {
  const status = instance.status ?? [];
  return history.map((step, index) => step.stage ?? status[index]?.stage ?? index);
}

/**
 * Activities by the entry of the history in which they were done. What a stage had done before a retry stays done: the API
 * counts it to the pass that goes on with it.
 * @param {Json[]} history
 * @param {number[]} numbers
 * @param {Json[][]} activities
 * @returns {Json[][]}
 */
function inTheirPasses(history, numbers, activities) {
  const passes = /** @type {Json[][]} */ (history.map(() => []));
  history.forEach((_, index) => {
    for (const activity of activities[index] ?? []) {
      const begunBy = (/** @type {number} */ at) => numbers[at] === numbers[index] && exact(history[at].startedAt) <= exact(activity.startedAt);
      let pass = index;
      while (pass > 0 && !begunBy(pass)) pass -= 1;
      passes[begunBy(pass) ? pass : index].push(activity);
    }
  });
  return passes.map((some) => some.sort((a, b) => exact(a.startedAt) - exact(b.startedAt)));
}

/**
 * @param {Json | null} step
 * @param {number} index
 * @param {number} stage
 * @param {Json | undefined} written
 * @param {Json} variables
 * @param {boolean} [again] whether it has run before
 */
function stageStep(step, index, stage, written, variables, again = false) {
  const kind = kindOf(written ?? {});
  return /** @type {Step} */ ({
    key: `stage-${index}`,
    level: 0,
    state: step ? (step.state ?? stepState(step)) : "todo",
    title: written ? stageText(written, variables) : (step?.name ?? ""),
    about: step?.retries === undefined ? (again ? words.instance.laterPass : "") : words.instance.earlierPass(step.retries + 1),
    technicalName: step?.name ?? kind,
    ...times(step),
    stage,
    step,
    written: written ? { [kind]: fieldsOf(written) } : null,
  });
}

/** @param {Json} activity @param {number} index @param {number} stage @param {number} number */
function activityStep(activity, index, stage, number) {
  return /** @type {Step} */ ({
    key: `stage-${index}-activity-${number}`,
    level: 1,
    state: stepState(activity),
    title: activityText(activity.name),
    about: activityAbout(activity),
    technicalName: activity.name,
    ...times(activity),
    stage,
    step: activity,
    written: null,
  });
}

/** @param {Json | null} step */
function times(step) {
  return {
    start: step ? exact(step.startedAt) : null,
    end: step?.terminatedAt ? exact(step.terminatedAt) : null,
    next: step?.nextExecution && !step.terminated ? exact(step.nextExecution) : null,
  };
}

/**
 * The time that all steps take.
 * @param {Step[]} steps
 * @param {number} now milliseconds since 1970
 * @returns {{from: number, to: number}}
 */
export function spanOf(steps, now) {
  const begun = steps.filter((step) => step.start !== null);
  if (!begun.length) return { from: now, to: now + 1 };
  const from = Math.min(...begun.map((step) => step.start ?? now));
  const to = Math.max(...begun.map((step) => Math.max(step.end ?? Math.max(now, step.start ?? now), step.next ?? 0)));
  return { from, to: Math.max(to, from + 1) };
}

/**
 * The steps from which a scale is read: at most `most` of them, at round durations from the beginning.
 * @param {number} length milliseconds
 * @param {number} most
 * @returns {number[]}
 */
export function ticksOf(length, most) {
  const wanted = length / most;
  const step = SIZES.find((size) => size >= wanted) ?? Math.ceil(wanted / DAY) * DAY;
  const ticks = [];
  for (let at = step; at <= length * 0.97; at += step) ticks.push(at);
  return ticks;
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const SIZES = [
  ...[0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500],
  ...[1, 2, 5, 10, 15, 30].map((n) => n * SECOND),
  ...[1, 2, 5, 10, 15, 30].map((n) => n * MINUTE),
  ...[1, 2, 3, 6, 12].map((n) => n * HOUR),
  ...[1, 2, 7, 14, 30].map((n) => n * DAY),
];

/** The failure that keeps an instance trying. @param {View} view @returns {{text: string, type?: string} | undefined} */
export function failureOf({ activities }) {
  const trying = activities.flat().findLast((activity) => !activity.terminated && activity.lastFailure);
  return trying && { text: trying.lastFailure, type: trying.lastFailureType };
}

/** What a step says of its error; `""` without one. @param {Step} step */
export function errorOf({ step }) {
  if (!step) return "";
  return step.error === CANCELED ? words.failures.aborted.what : (step.error ?? (step.terminated ? "" : (step.lastFailure ?? "")));
}

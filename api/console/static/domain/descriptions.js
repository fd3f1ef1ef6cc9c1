/**
 * Stages and activities in words, with money in human units.
 */
import { money } from "../base/formats.js";
import { words } from "../base/words.js";
import { essence } from "./activities.js";
import { amountOf, endOf, fieldsOf, kindOf, resolved } from "./definitions.js";

/** @typedef {import("../data/resources.js").Json} Json */

/** What a stage does. @param {Json} stage of a definition @param {Json} variables @returns {string} */
export function stageText(stage, variables) {
  const fields = fieldsOf(stage);
  const text = (/** @type {unknown} */ value) => String(resolved(value ?? "", variables));
  switch (kindOf(stage)) {
    case "send": {
      const amount = amountOf(stage, variables);
      return words.stageAbout.send(
        amount ? money(amount.amount, amount.asset) : [text(fields.amount?.amount), text(fields.amount?.asset)].join(" ").trim(),
        endText(fields.source, variables),
        endText(fields.destination, variables),
      );
    }
    case "wait_event":
      return words.stageAbout.event(text(fields.event));
    case "delay":
      return fields.duration ? words.stageAbout.delay(text(fields.duration)) : words.stageAbout.until(text(fields.until));
    case "update":
      return words.stageAbout.update(text(fields.account?.id));
    default:
      return words.stages[kindOf(stage)] ?? kindOf(stage);
  }
}

/** @param {Json} end @param {Json} variables */
function endText(end, variables) {
  const { kind, name } = endOf(end ?? {}, variables);
  return kind ? `${words.ends[kind]} ${name}` : "";
}

/** What an activity is called. @param {string | undefined} name @returns {string} */
export function activityText(name) {
  return words.activities[name ?? ""] ?? name ?? "";
}

/** What matters of an activity: `12.50 EUR · users:7 → world`. @param {Json} activity @returns {string} */
export function activityAbout(activity) {
  const { amount, asset, from, to, about } = essence(activity);
  const path = from && to ? `${from} → ${to}` : (from ?? to ?? about ?? "");
  return [amount !== undefined && asset ? money(amount, asset) : "", path].filter(Boolean).join(" · ");
}

/** What an instance is called: its workflow's name, or the workflow's id. @param {Json} instance @returns {string} */
export function instanceText(instance) {
  return instance.workflow?.config?.name || words.unnamed;
}

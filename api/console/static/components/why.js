/** Why an instance is where it is, in a sentence or two: what it waits for since when, what failed, what comes next. */
import { withShortIds } from "../base/formats.js";
import { html } from "../base/ui.js";
import { words } from "../base/words.js";
import { activityText, stageText } from "../domain/descriptions.js";
import { pauseOf, stateOf } from "../domain/states.js";
import { Countdown } from "./countdown.js";
import { Elapsed } from "./elapsed.js";
import { FailureNote } from "./failure-note.js";
import { When } from "./when.js";

/** @typedef {import("../data/resources.js").Json} Json */

/** @param {{instance: Json, failure?: {text: string, type?: string}}} props `failure` of the activity that is tried again */
export function Why({ instance, failure }) {
  const state = stateOf(instance);
  return html`<div class=${`why state-${state}`}>
    <${Sentence} instance=${instance} state=${state} />
    <${Cause} instance=${instance} state=${state} failure=${failure} />
  </div>`;
}

/** @param {{instance: Json, state: string}} props */
function Sentence({ instance, state }) {
  const { waiting = {} } = instance;
  const since = waiting.since && html`<span class="since">
    ${" "}${words.why.since} <${When} at=${waiting.since} /> (<${Elapsed} from=${waiting.since} />)</span>`;
  switch (state) {
    case "waiting":
      return html`<p class="sentence">${words.why.event("")} <em>${waiting.name}</em>${since}</p>`;
    case "delayed":
      return html`<p class="sentence">${words.why.delay} <${When} at=${waiting.until} />, <${Countdown} until=${waiting.until} /></p>`;
    case "retrying":
      return html`<p class="sentence">${words.why.retry(activityText(waiting.name))}.
        ${" "}${words.why.nextAttempt(waiting.attempt ?? 1)} ${waiting.until && html`<${Countdown} until=${waiting.until} />`}</p>`;
    case "paused":
      return html`<p class="sentence">${words.why.resume(activityText(waiting.name))}${since}</p>`;
    case "failed":
      return html`<p class="sentence">${words.why.failedAt(failedStage(instance))}</p>`;
    case "aborted":
      return html`<${Aborted} instance=${instance} />`;
    case "succeeded":
      return html`<p class="sentence">${words.why.succeeded}, ${words.why.at} <${When} at=${instance.terminatedAt} /></p>`;
    case "unknown":
      return html`<p class="sentence">${instance.unreadable}</p>`;
    default:
      return html`<p class="sentence">${words.why.running}: ${currentStage(instance)}</p>`;
  }
}

/** Who has aborted it, when and why. @param {{instance: Json}} props */
function Aborted({ instance }) {
  const act = abortOf(instance);
  return html`<p class="sentence">${words.why.aborted}${act?.by && html`${" "}${words.why.by} <em>${act.by}</em>`}
    ${" "}<span class="since">${words.why.at} <${When} at=${instance.terminatedAt} /></span></p>
    ${act?.reason && html`<p><q>${act.reason}</q></p>`}`;
}

/** @param {Json} instance @returns {Json | undefined} */
function abortOf(instance) {
  return (instance.acts ?? []).findLast((/** @type {Json} */ act) => act.action === "abort");
}

/** @param {{instance: Json, state: string, failure?: {text: string, type?: string}}} props */
function Cause({ instance, state, failure }) {
  const pause = pauseOf(instance);
  if (pause) return html`<${FailureNote} text=${pause.lastFailure} type=${pause.lastFailureType} />`;
  if (state === "failed") return html`<${FailureNote} text=${instance.error} />`;
  if (state === "retrying" && failure) return html`<${FailureNote} text=${failure.text} type=${failure.type} />`;
  return null;
}

/** @param {Json} instance */
function failedStage(instance) {
  const failed = (instance.status ?? []).find((/** @type {Json} */ status) => status.error);
  return aboutStage(instance, failed?.stage);
}

/** @param {Json} instance */
function currentStage(instance) {
  return aboutStage(instance, (instance.status ?? []).at(-1)?.stage);
}

/** @param {Json} instance @param {number | undefined} number */
function aboutStage(instance, number) {
  const stage = instance.workflow?.config?.stages?.[number ?? -1];
  return stage ? withShortIds(stageText(stage, instance.variables ?? {})) : "";
}

/**
 * The same in a few words, for a row of a list.
 * @param {{instance: Json}} props
 */
export function WhyShort({ instance }) {
  const { waiting = {} } = instance;
  switch (stateOf(instance)) {
    case "waiting":
      return html`<em>${waiting.name}</em> ${words.why.since} <${When} at=${waiting.since} />`;
    case "delayed":
      return html`${words.why.delay} <${When} at=${waiting.until} />`;
    case "retrying":
      return html`${activityText(waiting.name)} · ${words.instance.attempt} ${waiting.attempt}
        ${waiting.until && html` · <${Countdown} until=${waiting.until} />`}`;
    case "paused":
      return html`<${ShortText} text=${pauseOf(instance)?.lastFailure ?? activityText(waiting.name)} />`;
    case "failed":
      return html`<${ShortText} text=${instance.error} />`;
    case "running":
      return currentStage(instance);
    case "unknown":
      return html`<${ShortText} text=${instance.unreadable} />`;
    case "aborted": {
      const { by, reason } = abortOf(instance) ?? {};
      return html`${by && html`${words.why.by} <strong>${by}</strong>${" "}`}${reason && html`<${ShortText} text=${`“${reason}”`} />`}`;
    }
    default:
      return "";
  }
}

/** @param {{text: string}} props a text of any length */
function ShortText({ text }) {
  return html`<span class="clamp" title=${text}>${text}</span>`;
}

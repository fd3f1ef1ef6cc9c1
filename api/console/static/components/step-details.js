/** What is known of a step: times, attempts, what went in as written and resolved, what came out, what failed. */
import { between, duration } from "../base/formats.js";
import { html } from "../base/ui.js";
import { words } from "../base/words.js";
import { unwrapped } from "../domain/activities.js";
import { Countdown } from "./countdown.js";
import { FailureNote } from "./failure-note.js";
import { JsonView } from "./json-view.js";
import { When } from "./when.js";

/** @param {{step: import("../domain/timeline.js").Step}} props */
export function StepDetails({ step: { step, level, written, technicalName } }) {
  const failure = step?.error ?? (step?.terminated ? undefined : step?.lastFailure);
  return html`<div class="details">
    <dl class="facts">
      <div><dt>${words.instance.technicalName}</dt><dd><code>${technicalName}</code></dd></div>
      ${step && html`<div><dt>${words.instance.startedAt}</dt><dd><${When} at=${step.startedAt} /></dd></div>`}
      ${step?.terminatedAt && html`<div><dt>${words.instance.endedAt}</dt><dd><${When} at=${step.terminatedAt} />
        ${" "}(${duration(between(step.startedAt, step.terminatedAt))})</dd></div>`}
      ${step?.attempt && html`<div><dt>${words.instance.attempt}</dt><dd>${step.attempt}
        ${step.nextExecution && !step.terminated && html` · <${Countdown} until=${step.nextExecution} />`}</dd></div>`}
    </dl>
    ${failure && html`<${FailureNote} text=${failure} type=${step?.lastFailureType} />`}
    <div class="sides">
      ${written && html`<section><h3>${words.instance.asWritten}</h3>
        <${JsonView} value=${written} label=${words.instance.asWritten} /></section>`}
      ${step && html`<section><h3>${level ? words.instance.input : words.instance.resolvedInput}</h3>
        <${JsonView} value=${unwrapped(step, "input")} label=${words.instance.input} /></section>`}
      ${step && level === 1 && html`<section><h3>${words.instance.output}</h3>
        ${step.output === undefined
          ? html`<p class="sub">${words.instance.noOutput}</p>`
          : html`<${JsonView} value=${unwrapped(step, "output")} label=${words.instance.output} />`}</section>`}
    </div>
  </div>`;
}

/** A step of the timeline: its name, its bar, how long it took, and what it can open. */
import { duration, wholeSeconds, withShortIds } from "../base/formats.js";
import { html, useId } from "../base/ui.js";
import { words } from "../base/words.js";
import { StateBadge } from "./state-badge.js";
import { StepDetails } from "./step-details.js";

/** The smallest share of the time that is still seen as a bar, in percent. */
const MIN_WIDTH = 0.6;

/** States that go without saying: their sign is enough for who sees it. */
const QUIET = ["succeeded", "todo", "skipped"];

/** A step that takes less than this share of what is shown can be zoomed in to. */
const ZOOM_SHARE = 0.25;

/**
 * @param {{step: import("../domain/timeline.js").Step, span: {from: number, to: number}, whole: {from: number, to: number},
 *   now: number, open: boolean, toggle: () => void, zoom: () => void, zoomed: boolean}} props
 */
export function TimelineRow({ step, span, whole, now, open, toggle, zoom, zoomed }) {
  const id = useId();
  const length = step.start === null ? null : (step.end ?? now) - step.start;
  const zoomable = length !== null && length > 0 && (zoomed || length < (whole.to - whole.from) * ZOOM_SHARE);
  const attempts = attemptsMade(step);
  return html`<li class=${`step level-${step.level} state-${step.state}${open ? " open" : ""}`}>
    <div class="line">
      <button type="button" class="step-name" aria-expanded=${open} aria-controls=${id} onClick=${toggle}>
        <span class="chevron" aria-hidden="true">${open ? "▾" : "▸"}</span>
        <${StateBadge} state=${step.state} small />
        <span class="step-text"><span class="step-title" title=${step.title}>${withShortIds(step.title)}</span>${" "}
          ${step.about && html`<span class="step-about" title=${step.about}>${withShortIds(step.about)}</span>`}</span>
      </button>
      <div class="track" aria-hidden="true"><${Bar} step=${step} span=${span} now=${now} /></div>
      <span class="step-time nowrap">
        ${!QUIET.includes(step.state) && html`<span class=${`step-state state-${step.state}`} aria-hidden="true">
          ${words.states[step.state]}</span>`}
        ${attempts > 1 && html`<span class="attempts">${words.instance.attempts(attempts)}</span>`}
        ${length === null ? "" : step.end === null ? wholeSeconds(length) : duration(length)}
        ${zoomable && html`<button type="button" class="quiet zoom" aria-pressed=${zoomed} title=${words.instance.zoom}
          aria-label=${words.instance.zoomTo(step.title)} onClick=${zoom}>⤢</button>`}
      </span>
    </div>
    <div id=${id} hidden=${!open}>${open && html`<${StepDetails} step=${step} />`}</div>
  </li>`;
}

/** How many attempts have begun: while the next one is waited for, its number is known already. @param {import("../domain/timeline.js").Step} step */
function attemptsMade({ step, next }) {
  return (step?.attempt ?? 1) - (next === null ? 0 : 1);
}

/** @param {{step: import("../domain/timeline.js").Step, span: {from: number, to: number}, now: number}} props */
function Bar({ step, span, now }) {
  if (step.start === null) return null;
  const length = span.to - span.from;
  const percent = (/** @type {number} */ at) => Math.min(100, Math.max(0, ((at - span.from) / length) * 100));
  const end = step.end ?? Math.max(now, step.start);
  if (end < span.from || step.start > span.to) return null;
  const left = Math.min(percent(step.start), 100 - MIN_WIDTH);
  const width = Math.max(percent(end) - left, MIN_WIDTH);
  return html`<span class=${`bar state-${step.state}${step.end === null ? " goes-on" : ""}`}
      style=${{ left: `${left}%`, width: `${width}%` }}></span>
    ${step.next !== null && step.next > end && html`<span class="bar to-come"
      style=${{ left: `${percent(end)}%`, width: `${Math.max(percent(step.next) - percent(end), MIN_WIDTH)}%` }}></span>`}`;
}

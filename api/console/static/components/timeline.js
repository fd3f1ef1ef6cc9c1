/**
 * The steps of an instance over time, to scale. Each row opens what went in and what came out. A step that is too short
 * to be seen beside the others can be zoomed in to.
 */
import { duration } from "../base/formats.js";
import { html, useState } from "../base/ui.js";
import { words } from "../base/words.js";
import { useNow } from "../data/clock.js";
import { spanOf, ticksOf } from "../domain/timeline.js";
import { TimelineRow } from "./timeline-row.js";

/** Numbers on the scale, where there is room. */
const TICKS = 6;

/**
 * @param {{steps: import("../domain/timeline.js").Step[], live: boolean}} props `live` while the instance has not ended
 */
export function Timeline({ steps, live }) {
  const now = useNow(live);
  const [zoom, setZoom] = useState(/** @type {string | null} */ (null));
  const [open, setOpen] = useState(/** @type {Set<string>} */ (new Set()));
  const whole = spanOf(steps, now);
  const zoomed = steps.find((step) => step.key === zoom);
  const span = zoomed ? spanOf([zoomed], now) : whole;
  const ticks = ticksOf(span.to - span.from, TICKS);
  const gap = ticks[0] ? (ticks[0] / (span.to - span.from)) * 100 : 100;
  const toggle = (/** @type {string} */ key) => {
    const next = new Set(open);
    if (!next.delete(key)) next.add(key);
    setOpen(next);
  };
  return html`<div class="timeline" style=${{ "--gap": `${gap}%` }}>
    <div class="scale">
      ${zoomed
        ? html`<button type="button" class="quiet" onClick=${() => setZoom(null)}>↔ ${words.instance.whole}</button>`
        : html`<span class="sub">${words.instance.timelineHelp}</span>`}
      <div class="ticks" aria-hidden="true">
        <span class="tick first">0</span>
        ${ticks.map((at) => html`<span class="tick" key=${at}
          style=${{ left: `${(at / (span.to - span.from)) * 100}%` }}>${duration(at)}</span>`)}
      </div>
    </div>
    <ol class="rows">
      ${steps.map((step) => html`<${TimelineRow} key=${step.key} step=${step} span=${span} whole=${whole} now=${now}
        open=${open.has(step.key)} toggle=${() => toggle(step.key)}
        zoom=${() => setZoom(zoom === step.key ? null : step.key)} zoomed=${zoom === step.key} />`)}
    </ol>
  </div>`;
}

/**
 * What has ended in each hour or day, by how it did, as columns; the same as a table for who can't see them.
 */
import { count, moment } from "../base/formats.js";
import { html } from "../base/ui.js";
import { words } from "../base/words.js";

/** From the bottom of a column to its top. */
const OUTCOMES = /** @type {const} */ (["succeeded", "failed", "aborted"]);

/** @param {{steps: import("../data/resources.js").Json[], label: string}} props steps of the statistics */
export function BarChart({ steps, label }) {
  const ended = (/** @type {any} */ step) => OUTCOMES.reduce((sum, outcome) => sum + step.ended[outcome].count, 0);
  const highest = Math.max(1, ...steps.map((step) => Math.max(step.started, ended(step))));
  const share = (/** @type {number} */ value) => `${(value / highest) * 100}%`;
  const said = (/** @type {any} */ step) => [
    moment(step.from), `${count(step.started)} ${words.overview.started}`,
    ...OUTCOMES.filter((outcome) => step.ended[outcome].count).map((outcome) => `${count(step.ended[outcome].count)} ${words.overview[outcome]}`),
  ].join("\n");
  return html`<figure class="chart" aria-label=${label}>
    <div class="columns-of" aria-hidden="true">
      <span class="top-of">${count(highest)}</span>
      ${steps.map((step) => html`<span class="column" key=${step.from} title=${said(step)}>
        ${step.started > 0 && html`<span class="mark" style=${{ bottom: share(step.started) }}></span>`}
        ${OUTCOMES.map((outcome) => html`<span key=${outcome} class=${`piece state-${outcome}`}
          style=${{ height: share(step.ended[outcome].count) }}></span>`).reverse()}
      </span>`)}
    </div>
    <div class="ends sub" aria-hidden="true"><span>${steps[0] && moment(steps[0].from)}</span>
      <span class="legend"><i class="mark"></i>${words.overview.started}
        ${OUTCOMES.map((outcome) => html`<i key=${outcome} class=${`piece state-${outcome}`}></i>${words.overview[outcome]}`)}</span>
      <span>${words.instance.now}</span></div>
    <details><summary class="sub">${words.overview.table}</summary>
      <div class="scrolls" tabindex="0" role="group" aria-label=${words.overview.table}><table class="list numbers"><thead><tr><th scope="col">${words.overview.hour}</th><th scope="col" class="end">${words.overview.started}</th>
        ${OUTCOMES.map((outcome) => html`<th scope="col" class="end" key=${outcome}>${words.overview[outcome]}</th>`)}</tr></thead>
        <tbody>${steps.filter((step) => step.started || ended(step)).map((step) => html`<tr key=${step.from}>
          <th scope="row">${moment(step.from)}</th><td class="end">${count(step.started)}</td>
          ${OUTCOMES.map((outcome) => html`<td class="end" key=${outcome}>${count(step.ended[outcome].count)}</td>`)}</tr>`)}</tbody></table></div>
    </details>
  </figure>`;
}

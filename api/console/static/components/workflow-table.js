/** The numbers of each workflow: what is in which state now, and what has ended in the time. */
import { linkTo } from "../base/addresses.js";
import { count, duration } from "../base/formats.js";
import { html } from "../base/ui.js";
import { words } from "../base/words.js";
import { LIVE } from "../domain/states.js";

/** @param {{workflows: import("../data/resources.js").Json[]}} props of the statistics */
export function WorkflowTable({ workflows }) {
  if (!workflows.length) return html`<p class="sub">${words.search.empty}</p>`;
  return html`<div class="scrolls" tabindex="0" role="group" aria-label=${words.overview.byWorkflow}><table class="list">
    <thead><tr><th scope="col">${words.workflows.columns.name}</th>
      ${LIVE.map((state) => html`<th scope="col" class="end" key=${state}>${words.states[state]}</th>`)}
      <th scope="col" class="end">${words.overview.started}</th><th scope="col" class="end">${words.overview.succeeded}</th>
      <th scope="col" class="end">${words.overview.failed}</th><th scope="col" class="end">p50</th><th scope="col" class="end">p95</th></tr></thead>
    <tbody>${workflows.map((workflow) => html`<tr key=${workflow.workflowID}>
      <th scope="row"><a class="row-link" href=${linkTo(["workflows", workflow.workflowID])}>${workflow.name || words.unnamed}</a></th>
      ${LIVE.map((state) => html`<td class="end" key=${state}>
        <${Linked} value=${workflow.states[state]} link=${linkTo(["search"], { state, workflow: workflow.workflowID })} /></td>`)}
      <td class="end">${count(workflow.started)}</td><td class="end">${count(workflow.ended.succeeded.count)}</td>
      <td class="end"><${Linked} value=${workflow.ended.failed.count}
        link=${linkTo(["search"], { state: "failed", workflow: workflow.workflowID })} /></td>
      <td class="end nowrap">${seconds(workflow.ended.succeeded.p50Seconds)}</td>
      <td class="end nowrap">${seconds(workflow.ended.succeeded.p95Seconds)}</td>
    </tr>`)}</tbody>
  </table></div>`;
}

/** @param {{value: number, link: string}} props a number that leads to what it counts */
function Linked({ value, link }) {
  return value ? html`<a href=${link}>${count(value)}</a>` : html`<span class="nothing">0</span>`;
}

/** @param {number | undefined} value */
function seconds(value) {
  return value === undefined ? "" : duration(value * 1000);
}

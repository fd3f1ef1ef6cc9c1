/** The numbers of each workflow: how many instances are in which state now. */
import { linkTo } from "../base/addresses.js";
import { count } from "../base/formats.js";
import { html } from "../base/ui.js";
import { words } from "../base/words.js";
import { STATES } from "../domain/states.js";

/** @param {{workflows: import("../data/resources.js").Json[]}} props of the statistics */
export function WorkflowTable({ workflows }) {
  if (!workflows.length) return html`<p class="sub">${words.search.empty}</p>`;
  return html`<div class="scrolls" tabindex="0" role="group" aria-label=${words.overview.byWorkflow}><table class="list numbers">
    <thead><tr><th scope="col">${words.workflows.columns.name}</th>
      ${STATES.map((state) => html`<th scope="col" class="end" key=${state}>${words.states[state]}</th>`)}</tr></thead>
    <tbody>${workflows.map((workflow) => html`<tr key=${workflow.workflowID}>
      <th scope="row"><a class="row-link" href=${linkTo(["workflows", workflow.workflowID])}>${workflow.name || words.unnamed}</a></th>
      ${STATES.map((state) => html`<td class="end" key=${state}>
        <${Linked} value=${workflow.states[state]} link=${linkTo(["search"], { state, workflow: workflow.workflowID })} /></td>`)}
    </tr>`)}</tbody>
  </table></div>`;
}

/** @param {{value: number, link: string}} props a number that leads to what it counts */
function Linked({ value, link }) {
  return value ? html`<a href=${link}>${count(value)}</a>` : html`<span class="nothing">0</span>`;
}

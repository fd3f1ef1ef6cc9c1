/** What came of messages: an instance, or a failure, and the message itself. */
import { linkTo } from "../base/addresses.js";
import { shortId } from "../base/formats.js";
import { html, useState } from "../base/ui.js";
import { words } from "../base/words.js";
import { stateOf } from "../domain/states.js";
import { FailureNote } from "./failure-note.js";
import { JsonView } from "./json-view.js";
import { StateBadge } from "./state-badge.js";
import { When } from "./when.js";

/** @typedef {import("../data/resources.js").Json} Json */

/** @param {{occurrences: Json[], use: ((event: unknown) => void) | null}} props `use` takes the payload of a message
 *   to the test: it is what expressions see */
export function OccurrenceTable({ occurrences, use }) {
  return html`<table class="list" aria-label=${words.triggers.occurrences}>
    <thead><tr><th scope="col">${words.triggers.date}</th><th scope="col">${words.triggers.result}</th>
      <th scope="col">${words.triggers.message}</th></tr></thead>
    <tbody>${occurrences.map((one) => html`<${Row} key=${one.id} occurrence=${one} use=${use} />`)}</tbody>
  </table>`;
}

/** @param {{occurrence: Json, use: ((event: unknown) => void) | null}} props */
function Row({ occurrence, use }) {
  const [open, setOpen] = useState(false);
  const { workflowInstance: instance, workflowInstanceID: id } = occurrence;
  return html`<tr>
    <td class="nowrap"><${When} at=${occurrence.date} /></td>
    <td>${occurrence.error
      ? html`<${StateBadge} state="failed" /> <${FailureNote} text=${occurrence.error} />`
      : html`<a href=${linkTo(["instances", id])}>${words.triggers.fired} ${shortId(id ?? "")}</a>
        ${instance?.terminated && html` <${StateBadge} state=${stateOf(instance)} />`}`}</td>
    <td class="message">
      ${use && html`<button type="button" class="quiet" onClick=${() => use(occurrence.event.payload)}>${words.triggers.useMessage}</button>`}
      <details onToggle=${(/** @type {any} */ event) => setOpen(event.target.open)}>
        <summary>${words.triggers.message}</summary>
        ${open && html`<${JsonView} value=${occurrence.event} label=${words.triggers.message} />`}</details></td>
  </tr>`;
}

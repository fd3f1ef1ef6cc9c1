/** Of each state, the instance that was started first. */
import { linkTo } from "../base/addresses.js";
import { shortId } from "../base/formats.js";
import { html } from "../base/ui.js";
import { words } from "../base/words.js";
import { Elapsed } from "./elapsed.js";
import { StateBadge } from "./state-badge.js";
import { When } from "./when.js";
import { WhyShort } from "./why.js";
import { WorkflowName } from "./workflow-link.js";

/** @param {{oldest: import("../data/resources.js").Json[]}} props of the statistics */
export function OldestList({ oldest }) {
  if (!oldest.length) return html`<p class="sub">${words.overview.nothingWaits}</p>`;
  const { columns } = words.search;
  return html`<table class="list" aria-label=${words.overview.oldest}>
    <thead><tr><th scope="col">${columns.state}</th><th scope="col">${columns.instance}</th><th scope="col">${columns.now}</th>
      <th scope="col">${columns.started}</th><th scope="col" class="end">${columns.took}</th></tr></thead>
    <tbody>${oldest.map((one) => html`<tr key=${one.state}>
      <td><${StateBadge} state=${one.state} /></td>
      <th scope="row"><a class="row-link" href=${linkTo(["instances", one.instanceID])}><${WorkflowName} id=${one.workflowID} /></a>
        <span class="sub"><code title=${one.instanceID}>${shortId(one.instanceID)}</code></span></th>
      <td class="now"><${WhyShort} instance=${one} /></td>
      <td class="nowrap"><${When} at=${one.createdAt} /></td>
      <td class="end"><${Elapsed} from=${one.createdAt} /></td>
    </tr>`)}</tbody>
  </table>`;
}

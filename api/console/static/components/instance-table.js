/** Instances as rows: which, how much, in what state, what it does now. On a phone each row is a card. */
import { linkTo } from "../base/addresses.js";
import { shortId, withShortIds } from "../base/formats.js";
import { html } from "../base/ui.js";
import { words } from "../base/words.js";
import { instanceText } from "../domain/descriptions.js";
import { stateOf } from "../domain/states.js";
import { Elapsed } from "./elapsed.js";
import { Amounts } from "./amounts.js";
import { StateBadge } from "./state-badge.js";
import { When } from "./when.js";
import { WhyShort } from "./why.js";

/** @typedef {import("../data/resources.js").Json} Json */

/** @param {{instances: Json[], label: string}} props */
export function InstanceTable({ instances, label }) {
  const { columns } = words.search;
  return html`<table class="list instances" aria-label=${label}>
    <thead><tr>
      <th scope="col">${columns.instance}</th>
      <th scope="col">${columns.state}</th>
      <th scope="col">${columns.now}</th>
      <th scope="col">${columns.started}</th>
      <th scope="col" class="end">${columns.took}</th>
    </tr></thead>
    <tbody>${instances.map((instance) => html`<${Row} key=${instance.id} instance=${instance} />`)}</tbody>
  </table>`;
}

/** @param {{instance: Json}} props */
function Row({ instance }) {
  return html`<tr>
    <th scope="row">
      <a class="row-link" href=${linkTo(["instances", instance.id])}>
        <span class="name">${instanceText(instance)}</span>
        <${Amounts} instance=${instance} />
      </a>
      <span class="sub"><code title=${instance.id}>${shortId(instance.id)}</code>${keysOf(instance)}</span>
    </th>
    <td><${StateBadge} state=${stateOf(instance)} /></td>
    <td class="now"><${WhyShort} instance=${instance} /></td>
    <td class="nowrap"><${When} at=${instance.createdAt} /></td>
    <td class="end"><${Elapsed} from=${instance.createdAt} to=${instance.terminatedAt} /></td>
  </tr>`;
}

/** The variables, by which people know a payment. @param {Json} instance */
function keysOf(instance) {
  const values = Object.entries(instance.variables ?? {}).filter(([, value]) => value && value.length <= 40);
  return values.slice(0, 3).map(([name, value]) => html`<span class="key" key=${name}>${name} <span title=${value}>${withShortIds(value)}</span></span>`);
}

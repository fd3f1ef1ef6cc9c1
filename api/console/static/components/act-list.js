/** What people did, when and why. */
import { html } from "../base/ui.js";
import { words } from "../base/words.js";
import { When } from "./when.js";

/** @param {{acts?: import("../data/resources.js").Json[]}} props */
export function ActList({ acts }) {
  if (!acts?.length) return null;
  return html`<h3>${words.instance.acts}</h3>
    <ul class="act-list">${acts.map((act, index) => html`<li key=${index}>
      <${When} at=${act.at} />${" "}<strong>${words.actNames[act.action] ?? act.action}</strong>${act.name && html` <em>${act.name}</em>`}
      ${act.by && html` ${words.instance.by} <strong>${act.by}</strong>`}${act.reason && html`: <q>${act.reason}</q>`}
    </li>`)}</ul>`;
}

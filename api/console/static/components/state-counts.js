/** How many instances are in which state; each number leads to them. */
import { linkTo } from "../base/addresses.js";
import { count } from "../base/formats.js";
import { html } from "../base/ui.js";
import { words } from "../base/words.js";
import { STATES } from "../domain/states.js";

/** @param {{states: Record<string, number>, workflow?: string}} props */
export function StateCounts({ states, workflow }) {
  return html`<ul class="counts">${STATES.map((state) => html`<li key=${state} class=${`state-${state}${states[state] ? "" : " zero"}`}>
    <a href=${linkTo(["search"], { state, workflow })} title=${words.stateHelp[state]}>
      <span class="number">${count(states[state] ?? 0)}</span><span class="of">${words.states[state]}</span></a></li>`)}</ul>`;
}

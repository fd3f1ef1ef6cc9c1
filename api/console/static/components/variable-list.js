/** The variables that an instance was started with; each value leads to what else has it. */
import { linkTo } from "../base/addresses.js";
import { html } from "../base/ui.js";
import { words } from "../base/words.js";

/** @param {{variables?: Record<string, string>}} props */
export function VariableList({ variables }) {
  if (!variables) return html`<p class="sub">${words.instance.unknownVariables}</p>`;
  const entries = Object.entries(variables);
  if (!entries.length) return html`<p class="sub">${words.instance.noVariables}</p>`;
  return html`<h3>${words.instance.variables}</h3>
    <dl class="facts variables">${entries.map(([name, value]) => html`<div key=${name}><dt>${name}</dt>
      <dd>${value ? html`<a href=${linkTo(["search"], { q: value })}>${value}</a>` : html`<span class="sub">${words.none}</span>`}</dd>
    </div>`)}</dl>`;
}

/** Which time statistics are about. */
import { html, useId } from "../base/ui.js";
import { words } from "../base/words.js";

/** @param {{value: string, change: (period: string) => void}} props */
export function PeriodChoice({ value, change }) {
  const id = useId();
  return html`<span><label class="hidden" for=${id}>${words.overview.period}</label>
    <select id=${id} value=${value} onChange=${(/** @type {any} */ event) => change(event.target.value)}>
      ${Object.entries(words.overview.periods).map(([name, text]) => html`<option key=${name} value=${name}>${text}</option>`)}
    </select></span>`;
}

/** An amount in human units. */
import { money } from "../base/formats.js";
import { html } from "../base/ui.js";

/** @param {{amount: {amount: string | number | bigint, asset: string}}} props */
export function Money({ amount }) {
  return html`<span class="money" title=${`${amount.asset} ${amount.amount}`}>${money(amount.amount, amount.asset)}</span>`;
}

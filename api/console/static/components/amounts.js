/** What an instance moves, next to its name. */
import { html } from "../base/ui.js";
import { words } from "../base/words.js";
import { amountsOfInstance } from "../domain/definitions.js";
import { Money } from "./money.js";

/** @param {{instance: import("../data/resources.js").Json}} props */
export function Amounts({ instance }) {
  return amountsOfInstance(instance).map((one, number) => html`${number ? " · " : " "}${
    one === "payment" ? html`<span class="money">${words.instance.wholePayment}</span>` : html`<${Money} amount=${one} />`}`);
}

/** The filters of a bulk operation in words. */
import { html } from "../base/ui.js";
import { words } from "../base/words.js";
import { givenOf } from "../domain/filters.js";

/** @param {{filter: import("../data/resources.js").Json}} props */
export function BulkFilter({ filter }) {
  const entries = givenOf(filter);
  if (!entries.length) return words.bulk.everything;
  return entries.map(([name, value]) => html`<span class="key" key=${name}>${words.bulk.filterNames[name] ?? name}${" "}
    <strong>${[value].flat().map((one) => words.states[one] ?? String(one)).join(", ")}</strong></span> `);
}

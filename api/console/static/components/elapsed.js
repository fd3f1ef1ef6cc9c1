/** How long something took, or takes until now. */
import { between, duration, wholeSeconds } from "../base/formats.js";
import { html } from "../base/ui.js";
import { useNow } from "../data/clock.js";

/** @param {{from: string, to?: string}} props without `to` it goes on */
export function Elapsed({ from, to }) {
  const now = useNow(!to);
  return html`<span class="nowrap">${to ? duration(between(from, to)) : wholeSeconds(between(from, now))}</span>`;
}

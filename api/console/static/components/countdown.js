/** How long until an instant. */
import { exact, wholeSeconds } from "../base/formats.js";
import { html } from "../base/ui.js";
import { words } from "../base/words.js";
import { useNow } from "../data/clock.js";

/** @param {{until: string}} props */
export function Countdown({ until }) {
  const left = exact(until) - useNow();
  // A screen reader must not read it every second.
  return html`<strong class="countdown nowrap" role="timer" aria-live="off">
    ${left > 0 ? `${words.why.nextIn} ${wholeSeconds(left + 999)}` : words.why.nextNow}
  </strong>`;
}

/** The line that says that the data on the page is old, why, and that it comes back by itself. */
import { moment, wholeSeconds } from "../base/formats.js";
import { html } from "../base/ui.js";
import { words } from "../base/words.js";
import { useNow } from "../data/clock.js";
import { troubles } from "../data/live.js";
import { useStore } from "../data/store.js";

export function TroubleLine() {
  const all = [...useStore(troubles).values()];
  const now = useNow(all.length > 0);
  const [first] = all.sort((a, b) => a.since - b.since);
  return html`<div role="alert" class="trouble-place">
    ${first && html`<p class="trouble">
      <strong>${first.error.message}.</strong>${" "}
      ${words.trouble.showing(moment(first.since))}${" "}${words.trouble.retrying}${" "}
      <span aria-hidden="true">${first.retryAt > now ? `${words.why.nextIn} ${wholeSeconds(first.retryAt - now + 999)}` : "…"}</span>
      <button type="button" class="quiet" onClick=${() => all.forEach((one) => one.retry())}>${words.trouble.retryNow}</button>
    </p>`}
  </div>`;
}

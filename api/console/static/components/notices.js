/** What has happened just now. */
import { html } from "../base/ui.js";
import { notices } from "../data/notices.js";
import { useStore } from "../data/store.js";

export function Notices() {
  const shown = useStore(notices);
  return html`<div class="notices" role="status" aria-live="polite">
    ${shown.map(({ id, text }) => html`<p key=${id}>${text}</p>`)}
  </div>`;
}

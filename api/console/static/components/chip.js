/** A filter that is set, with a button to take it away. */
import { html } from "../base/ui.js";
import { words } from "../base/words.js";

/** @param {{text: string, remove: () => void}} props */
export function Chip({ text, remove }) {
  return html`<li class="chip"><span>${text}</span>
    <button type="button" aria-label=${words.search.remove(text)} onClick=${remove}>✕</button></li>`;
}

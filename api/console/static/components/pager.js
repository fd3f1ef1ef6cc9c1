/** From one page of a list to the next. */
import { html } from "../base/ui.js";
import { words } from "../base/words.js";

/** @param {{page: {next?: string, previous?: string}, turn: (cursor: string) => void}} props */
export function Pager({ page, turn }) {
  if (!page.next && !page.previous) return null;
  return html`<nav class="pager" aria-label=${`${words.newer}, ${words.older}`}>
    <button type="button" disabled=${!page.previous} onClick=${() => turn(page.previous ?? "")}>← ${words.newer}</button>
    <button type="button" disabled=${!page.next} onClick=${() => turn(page.next ?? "")}>${words.older} →</button>
  </nav>`;
}

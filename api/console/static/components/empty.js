/** What a place says in which there is nothing. */
import { html } from "../base/ui.js";

/** @param {{title: string, help?: string}} props */
export function Empty({ title, help }) {
  return html`<div class="empty"><p><strong>${title}</strong></p>${help && html`<p>${help}</p>`}</div>`;
}

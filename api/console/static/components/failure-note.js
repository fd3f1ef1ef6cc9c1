/** A failure: in plain words, what helps, and what the service said itself. */
import { html } from "../base/ui.js";
import { words } from "../base/words.js";
import { explain } from "../domain/failures.js";

/** @param {{text: string, type?: string, help?: boolean}} props */
export function FailureNote({ text, type, help = true }) {
  const known = explain(text, type);
  if (!known) return html`<p class="failure"><span class="said">${text}</span></p>`;
  return html`<p class="failure"><strong>${known.what}</strong>${help && html` ${known.help}`}
    <span class="original"><span class="label">${words.instance.originalText}:</span>${" "}
      <span class="said">${text}</span>${type && html` <code>${type}</code>`}</span></p>`;
}

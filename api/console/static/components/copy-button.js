/** A button that copies a text. */
import { html, useState } from "../base/ui.js";
import { words } from "../base/words.js";
import { say } from "../data/notices.js";

/** @param {{text: string, label?: string, what?: string}} props `what` is copied, for screen readers */
export function CopyButton({ text, label = words.copy, what = "" }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      if (!copyBySelection(text)) return; // nothing allows it; the text is on the page
    }
    setCopied(true);
    say(words.copied);
    setTimeout(() => setCopied(false), 1500);
  };
  return html`<button type="button" class="quiet" onClick=${copy} aria-label=${what ? `${label}: ${what}` : undefined}>
    ${copied ? `✓ ${words.copied}` : label}
  </button>`;
}

/** Browsers give pages the clipboard only over HTTPS. @param {string} text */
function copyBySelection(text) {
  const area = document.createElement("textarea");
  area.value = text;
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}

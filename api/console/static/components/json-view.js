/** A value as JSON, to read and to copy. */
import { json } from "../base/formats.js";
import { html } from "../base/ui.js";
import { CopyButton } from "./copy-button.js";

/** @param {{value: unknown, label: string}} props */
export function JsonView({ value, label }) {
  const text = json(value);
  return html`<div class="code-box">
    <pre tabindex="0" role="group" aria-label=${label}><code>${text}</code></pre>
    <${CopyButton} text=${text} what=${label} />
  </div>`;
}

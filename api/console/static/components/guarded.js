/** A part of a page whose fault does not take the rest of the page away. */
import { html, useErrorBoundary } from "../base/ui.js";
import { words } from "../base/words.js";

/** @param {{children?: any}} props */
export function Guarded({ children }) {
  const [error] = useErrorBoundary((/** @type {unknown} */ fault) => console.error(fault));
  if (!error) return children;
  return html`<div class="card" role="alert">
    <p><strong>${words.trouble.bug}</strong>. ${words.trouble.bugHelp}</p>
    <pre><code>${String(error)}</code></pre>
    <button type="button" onClick=${() => location.reload()}>${words.trouble.reload}</button>
  </div>`;
}

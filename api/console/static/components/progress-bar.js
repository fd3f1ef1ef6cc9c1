/** How far something has come. */
import { html } from "../base/ui.js";

/** @param {{done: number, of: number, label: string}} props */
export function ProgressBar({ done, of, label }) {
  return html`<progress value=${done} max=${Math.max(of, done, 1)} aria-label=${label}></progress>`;
}

/** The state of something: a word with a sign, so that nobody depends on its colour. */
import { html } from "../base/ui.js";
import { words } from "../base/words.js";

/** @type {Record<string, string>} */
const SIGNS = {
  running: "▸", waiting: "◷", delayed: "◷", retrying: "↻", paused: "‖", succeeded: "✓", failed: "✕", aborted: "⊘", unknown: "?",
  todo: "·", skipped: "·",
};

/** @param {{state: string, small?: boolean}} props `small` is the sign alone, where the word is said beside it */
export function StateBadge({ state, small = false }) {
  return html`<span class=${`badge state-${state}${small ? " small" : ""}`} title=${words.stateHelp[state] ?? words.states[state]}>
    <span class="sign" aria-hidden="true">${SIGNS[state] ?? "·"}</span>
    <span class=${small ? "hidden" : ""}>${words.states[state] ?? state}</span>
  </span>`;
}

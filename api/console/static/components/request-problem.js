/** Why a request had no effect, or nobody knows whether it had one. */
import { html } from "../base/ui.js";
import { words } from "../base/words.js";
import { ApiError } from "../data/http.js";

/** @param {{error: Error}} props */
export function RequestProblem({ error }) {
  const passes = error instanceof ApiError && error.passes;
  return html`<p class="failure"><strong>${words.acts.failed}</strong> ${error.message}
    ${passes && html`. ${words.acts.mayRepeat}`}</p>`;
}

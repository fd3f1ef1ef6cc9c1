/** Something that can't be shown, and why. */
import { html } from "../base/ui.js";
import { words } from "../base/words.js";
import { ApiError } from "../data/http.js";
import { Empty } from "./empty.js";

/**
 * @param {{error: Error | null, notFound?: string, notFoundHelp?: string}} props without an error, it is still being read;
 *   errors that pass are told by the trouble line
 */
export function Problem({ error, notFound, notFoundHelp }) {
  if (!error || (error instanceof ApiError && error.passes)) {
    return html`<p class="loading" role="status">${words.loading}</p>`;
  }
  const missing = error instanceof ApiError && error.status === 404 && notFound;
  return html`<${Empty} title=${missing ? notFound : words.trouble.failed} help=${missing ? notFoundHelp : error.message} />`;
}

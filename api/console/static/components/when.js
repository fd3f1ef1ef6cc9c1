/** An instant in the reader's zone; UTC on hover. */
import { fullMoment, moment } from "../base/formats.js";
import { html } from "../base/ui.js";

/** @param {{at: string}} props */
export function When({ at }) {
  return html`<time datetime=${at} title=${fullMoment(at)}>${moment(at)}</time>`;
}

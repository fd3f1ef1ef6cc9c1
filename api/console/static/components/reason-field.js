/** Why a person does something: kept with it for whoever looks later. */
import { html, useId } from "../base/ui.js";
import { words } from "../base/words.js";

/** The API refuses longer ones. */
export const MAX_REASON = 500;

/** @param {{value: string, change: (text: string) => void}} props */
export function ReasonField({ value, change }) {
  const id = useId();
  return html`<div class="field">
    <label for=${id}>${words.acts.reason}</label>
    <input id=${id} value=${value} maxlength=${MAX_REASON} autocomplete="off" aria-describedby=${`${id}-help`}
      onInput=${(/** @type {any} */ event) => change(event.target.value)} />
    <p id=${`${id}-help`} class="sub">${words.acts.reasonHelp}</p>
  </div>`;
}

/** What a person can do to an instance. A button that can't be used now says why. */
import { html, useId, useState } from "../base/ui.js";
import { words } from "../base/words.js";
import { say } from "../data/notices.js";
import { ACTS, helpful, obstacle } from "../domain/acts.js";
import { ActDialog } from "./act-dialog.js";

/** @param {{instance: import("../data/resources.js").Json, refresh: () => void}} props */
export function ActButtons({ instance, refresh }) {
  const id = useId();
  const [act, setAct] = useState(/** @type {import("../domain/acts.js").ActName | null} */ (null));
  const first = helpful(instance);
  return html`<div class="acts" role="group" aria-label=${words.acts.label}>
    ${ACTS.map((name) => {
      const why = obstacle(name, instance);
      // Not `disabled`: it could not be reached with the keyboard, and nobody would learn why.
      return html`<span class="act" key=${name}>
        <button type="button" class=${name === first && !why ? "primary" : name === "abort" ? "danger" : ""}
          aria-disabled=${why ? "true" : "false"} aria-describedby=${why ? `${id}-${name}` : undefined} title=${why}
          onClick=${() => (why ? say(`${words.acts[name]}: ${why}`) : setAct(name))}>${words.acts[name]}</button>
        ${why && html`<span id=${`${id}-${name}`} class="hidden">${why}</span>`}
      </span>`;
    })}
    ${act && html`<${ActDialog} act=${act} instance=${instance} refresh=${refresh} close=${() => setAct(null)} />`}
  </div>`;
}

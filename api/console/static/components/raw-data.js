/** What the API answers of an instance, as it is, and the command that shows the records of the log. */
import { html } from "../base/ui.js";
import { words } from "../base/words.js";
import { CopyButton } from "./copy-button.js";
import { JsonView } from "./json-view.js";

/** @param {{view: import("../domain/timeline.js").View}} props */
export function RawData({ view }) {
  const command = `orchestration log ${view.instance.id}`;
  const parts = /** @type {[string, unknown][]} */ ([
    [words.instance.rawInstance, view.instance],
    [words.instance.rawHistory, view.history],
    [words.instance.rawActivities, view.activities],
  ]);
  return html`<details class="card raw">
    <summary><h2>${words.instance.raw}</h2></summary>
    <p class="sub">${words.instance.rawHelp}</p>
    <p><code>${command}</code> <${CopyButton} text=${command} what=${command} /></p>
    ${parts.map(([label, value]) => html`<section key=${label}><h3>${label}</h3><${JsonView} value=${value} label=${label} /></section>`)}
  </details>`;
}

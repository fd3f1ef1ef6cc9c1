/** What stands behind the page: the records of the event log, and what the API answers. Read when somebody opens it. */
import { html, useState } from "../base/ui.js";
import { words } from "../base/words.js";
import { CopyButton } from "./copy-button.js";
import { EventLog } from "./event-log.js";
import { JsonView } from "./json-view.js";

/** @param {{view: import("../domain/timeline.js").View}} props */
export function RawData({ view }) {
  const command = `orchestration log ${view.instance.id}`;
  return html`
    <${Part} title=${words.log.title}>${() => html`
      <p class="sub">${words.log.about}${" "}<code>${command}</code> <${CopyButton} text=${command} what=${command} /></p>
      <${EventLog} instance=${view.instance} />`}</${Part}>
    <${Part} title=${words.instance.raw}>${() => html`
      <p class="sub">${words.instance.rawHelp}</p>
      ${parts(view).map(([label, value]) => html`<section key=${label}><h3>${label}</h3><${JsonView} value=${value} label=${label} /></section>`)}`}
    </${Part}>`;
}

/** @param {import("../domain/timeline.js").View} view @returns {[string, unknown][]} */
function parts({ instance, history, activities }) {
  return [
    [words.instance.rawInstance, instance],
    [words.instance.rawHistory, history],
    [words.instance.rawActivities, activities],
  ];
}

/** @param {{title: string, children: () => any}} props `children` is drawn while it is open */
function Part({ title, children }) {
  const [open, setOpen] = useState(false);
  return html`<details class="card raw" onToggle=${(/** @type {any} */ event) => setOpen(event.target.open)}>
    <summary><h2>${title}</h2></summary>${open && children()}</details>`;
}

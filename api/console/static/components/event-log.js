/** The records of an instance as they stand in the event log: each with its place, what it says, and whether it counts. */
import { exact, json } from "../base/formats.js";
import { html, useId, useState } from "../base/ui.js";
import { words } from "../base/words.js";
import { useLog } from "../data/log.js";
import { JsonView } from "./json-view.js";
import { RequestProblem } from "./request-problem.js";
import { When } from "./when.js";

/** @typedef {import("../data/resources.js").Json} Json */

/** @param {{instance: Json}} props */
export function EventLog({ instance }) {
  const [asked, setAsked] = useState(() => ({ updatedAt: instance.updatedAt }));
  const log = useLog(instance.id, asked);
  const again = () => setAsked({ updatedAt: instance.updatedAt });
  const { columns } = words.log;
  return html`
    <p class="sub" role="status">${log.error ? "" : log.done ? words.log.read(log.records.length) : words.log.reading(Math.floor(log.share * 100))}
      ${log.done && (log.error || asked.updatedAt !== instance.updatedAt) && html`${" "}
        <button type="button" class="quiet" onClick=${again}>${log.error ? words.acts.again : words.log.more}</button>`}</p>
    ${log.error && html`<${RequestProblem} error=${log.error} />`}
    ${log.records.length > 0 && html`<div class="scrolls" tabindex="0" role="group" aria-label=${words.log.title}>
      <table class="list numbers log"><thead><tr><th scope="col" class="end">${columns.version}</th><th scope="col">${columns.at}</th>
        <th scope="col">${columns.type}</th><th scope="col">${columns.event}</th><th scope="col" class="end">${columns.cause}</th>
        <th scope="col" class="end">${columns.offset}</th></tr></thead>
        <tbody>${log.records.map((record) => html`<${Row} key=${record.offset} record=${record} />`)}</tbody></table></div>`}`;
}

/** @param {{record: Json}} props */
function Row({ record }) {
  const id = useId();
  const [open, setOpen] = useState(false);
  return html`<tr class=${record.counts ? "" : "counts-not"}>
      <td class="end">${record.version ?? ""}</td>
      <td class="nowrap">${record.at && html`<${When} at=${record.at} /><span class="fraction">${fraction(record.at)}</span>`}</td>
      <th scope="row"><button type="button" class="quiet record" aria-expanded=${open} aria-controls=${id} title=${words.log.show}
        onClick=${() => setOpen(!open)}><span class="chevron" aria-hidden="true">${open ? "▾" : "▸"}</span>${" "}
        <code>${record.type ?? "?"}</code></button></th>
      <td class="now"><code>${briefly(record.event)}</code>
        ${record.reason && html`<span class="failure small">${words.log.countsNot}: ${words.log.reasons[record.reason] ?? record.reason}</span>`}
        ${record.error && html`<span class="failure small">${words.log.unreadable}: ${record.error}</span>`}</td>
      <td class="end">${record.cause ?? ""}</td>
      <td class="end">${record.offset}</td></tr>
    <tr id=${id} hidden=${!open}>${open && html`<td colspan="6"><${JsonView} value=${record} label=${record.type ?? ""} /></td>`}</tr>`;
}

/** Most characters of an event that are shown in its row. */
const BRIEF = 90;

/** The fields of an event but its time, on one line. @param {Json | undefined} event */
function briefly(event) {
  const { at: _, ...fields } = event ?? {};
  const text = json(fields).replace(/\s+/g, " ").slice(1, -1).trim();
  return text.length > BRIEF ? `${text.slice(0, BRIEF)} …` : text || "{}";
}

/** Milliseconds of a second: many records are of the same one. @param {string} at */
function fraction(at) {
  return `.${String(Math.floor(exact(at) % 1000)).padStart(3, "0")}`;
}

/**
 * An action on all instances that match a search: first what it would do, then doing it. The filters are those of the moment
 * in which the dialog was opened, so that what was shown is what is acted on.
 */
import { go, linkTo } from "../base/addresses.js";
import { count } from "../base/formats.js";
import { html, useEffect, useId, useIsShown, useRef, useState } from "../base/ui.js";
import { words } from "../base/words.js";
import { newKey } from "../data/http.js";
import { previewBulk, startBulk } from "../data/resources.js";
import { BULK_ACTS, bulkActFor } from "../domain/acts.js";
import { givenOf } from "../domain/filters.js";
import { BulkFilter } from "./bulk-filter.js";
import { Dialog } from "./dialog.js";
import { InstanceTable } from "./instance-table.js";
import { ReasonField } from "./reason-field.js";
import { RequestProblem } from "./request-problem.js";

/** @typedef {import("../data/resources.js").Json} Json */

/** @param {{filter: Json, close: () => void}} props */
export function BulkDialog({ filter: given, close }) {
  const id = useId();
  const filter = useRef(given).current;
  const all = givenOf(filter).length === 0;
  const key = useRef(newKey());
  const [action, setAction] = useState(() => bulkActFor(given.state ?? []));
  const [reason, setReason] = useState("");
  const [sure, setSure] = useState(false);
  const [preview, setPreview] = useState(/** @type {Json | null} */ (null));
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState(/** @type {Error | null} */ (null));
  const attempt = async (/** @type {() => Promise<void>} */ what) => {
    setBusy(true);
    setProblem(null);
    try {
      await what();
    } catch (error) {
      setProblem(/** @type {Error} */ (error));
    }
    setBusy(false);
  };
  const body = { action, filter, ...(all ? { all: true } : {}) };
  const chosen = useRef(action);
  chosen.current = action;
  const isShown = useIsShown();
  const shown = useRef(/** @type {HTMLElement | null} */ (null));
  // Whoever holds Enter down must not start what they have not seen: the focus leaves the button, and the form only shows.
  useEffect(() => { if (preview) shown.current?.focus(); }, [preview]);
  const show = (/** @type {Event} */ event) => {
    event.preventDefault();
    if (busy || preview) return;
    void attempt(async () => {
      const found = await previewBulk(body);
      if (chosen.current === action) setPreview(found);
    });
  };
  const start = (/** @type {any} */ event) => {
    if (busy || event.detail > 1 || !event.currentTarget.form.reportValidity()) return;
    void attempt(async () => {
      const started = await startBulk(body, { reason: reason.trim(), key: key.current });
      if (!isShown.current) return;
      close();
      go(linkTo(["bulk", started.id]));
    });
  };
  // With a rare filter, what was looked at may have none.
  const some = Boolean(preview && (preview.matching || preview.more));
  const many = preview && `${count(preview.matching)}${preview.more ? "+" : ""} ${words.bulk.instances(preview.matching)}`;
  return html`<${Dialog} title=${words.bulk.act} close=${close}>
    <form onSubmit=${show}>
      <p>${words.bulk.dialogAbout}</p>
      <p>${words.bulk.filter}: <${BulkFilter} filter=${filter} /></p>
      <fieldset><legend>${words.bulk.choose}</legend>
        ${BULK_ACTS.map((name) => html`<label class="choice" key=${name}>
          <input type="radio" name=${id} value=${name} checked=${name === action} onChange=${() => {
            setAction(name);
            key.current = newKey(); // another action is another request
            setPreview(null);
          }} />
          <span><strong>${words.bulk.actions[name]}</strong>${" "}<span class="sub">${words.bulk.about[name]}</span></span></label>`)}
      </fieldset>
      <${ReasonField} value=${reason} change=${setReason} />
      ${all && html`<label class="choice failure"><input type="checkbox" required checked=${sure}
        onChange=${(/** @type {any} */ event) => setSure(event.target.checked)} />
        <span>${words.bulk.all} <strong>${words.bulk.allConfirm}</strong></span></label>`}
      <div role="status" tabindex="-1" ref=${shown}>${preview && html`
        <p><strong>${some ? words.bulk.would(words.bulk.actions[action], many ?? "") : words.bulk.nothing}</strong>${" "}
          <span class="sub">${words.bulk.dryRun}</span></p>
        ${preview.sample.length > 0 && html`<div class="scrolls sample" tabindex="0" role="group" aria-label=${words.bulk.sample}>
          <${InstanceTable} instances=${preview.sample} label=${words.bulk.sample} /></div>`}`}</div>
      <div role="alert">${problem && html`<${RequestProblem} error=${problem} />`}</div>
      <footer><button type="button" onClick=${close}>${words.cancel}</button>
        ${preview
          ? html`<button key="start" type="button" class=${action === "abort" ? "danger filled" : "primary"} disabled=${!some}
              aria-disabled=${busy} onClick=${start}>
              ${words.bulk.would(words.bulk.actions[action], many ?? "")}</button>`
          : html`<button key="show" type="submit" class="primary" aria-disabled=${busy}>${busy ? words.bulk.previewing : words.bulk.preview}</button>`}
      </footer>
    </form>
  </${Dialog}>`;
}

/**
 * The dialog before something is done to an instance. It looks at the instance all the time: if that has changed so that
 * nothing can be done any more, it says so and sends nothing.
 */
import { shortId } from "../base/formats.js";
import { html, useId, useIsShown, useRef, useState } from "../base/ui.js";
import { words } from "../base/words.js";
import { newKey } from "../data/http.js";
import { say } from "../data/notices.js";
import * as resources from "../data/resources.js";
import { obstacle } from "../domain/acts.js";
import { eventsOf } from "../domain/definitions.js";
import { instanceText } from "../domain/descriptions.js";
import { pauseOf } from "../domain/states.js";
import { Dialog } from "./dialog.js";
import { ReasonField } from "./reason-field.js";
import { RequestProblem } from "./request-problem.js";

/**
 * @param {{act: import("../domain/acts.js").ActName, instance: import("../data/resources.js").Json, refresh: () => void,
 *   close: () => void}} props
 */
export function ActDialog({ act, instance, refresh, close }) {
  const id = useId();
  const events = eventsOf(instance.workflow?.config?.stages ?? [], instance.variables ?? {});
  const [name, setName] = useState(instance.waiting?.name ?? events[0] ?? "");
  const [reason, setReason] = useState("");
  const [sending, setSending] = useState(false);
  const [problem, setProblem] = useState(/** @type {Error | null} */ (null));
  // One key for all tries of one request, so that it has its effect once; and the pause that the person saw.
  const key = useRef(newKey());
  const pause = useRef(pauseOf(instance)).current;
  const isShown = useIsShown();
  const isOther = act === "resume" && pause?.pausedAt !== pauseOf(instance)?.pausedAt;
  const why = obstacle(act, instance) || (isOther ? words.acts.not.otherPause : null);
  const tell = (/** @type {string} */ what) => say(words.acts.of(instanceText(instance), shortId(instance.id), what));
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    if (why || sending) return;
    setSending(true);
    setProblem(null);
    const given = { reason: reason.trim(), key: key.current };
    try {
      if (act === "event") await resources.sendEvent(instance.id, name.trim(), given);
      else if (act === "abort") await resources.abortInstance(instance.id, given);
      else if (act === "retry") await resources.retryInstance(instance.id, given);
      else if (pause) await resources.resumeActivity(instance.id, pause, given);
      tell(words.acts.done[act]);
      close();
    } catch (error) {
      const failure = /** @type {Error} */ (error);
      if (!isShown.current) tell(`${words.acts.failed} ${failure.message}`); // whoever has left hears of it all the same
      setProblem(failure);
      setSending(false);
    }
    refresh();
  };
  return html`<${Dialog} title=${words.acts.titles[act]} close=${close}>
    <form onSubmit=${submit}>
      <p>${words.acts.about[act]}</p>
      ${act === "event" && html`<div class="field">
        <label for=${`${id}-name`}>${words.acts.eventName}</label>
        <input id=${`${id}-name`} required value=${name} list=${`${id}-events`} autocomplete="off"
          onInput=${(/** @type {any} */ event) => {
            setName(event.target.value);
            key.current = newKey(); // another event is another request
          }} />
        <datalist id=${`${id}-events`}>${events.map((one) => html`<option key=${one} value=${one} />`)}</datalist>
      </div>`}
      <${ReasonField} value=${reason} change=${setReason} />
      <div role="alert">
        ${why && !sending && html`<p class="failure">${(problem ? words.acts.changedSince : words.acts.changed)(why)}</p>`}
        ${problem && !why && html`<${RequestProblem} error=${problem} />`}
      </div>
      <footer>
        <button type="button" onClick=${close}>${words.cancel}</button>
        <button type="submit" class=${act === "abort" ? "danger filled" : "primary"} disabled=${Boolean(why)} aria-disabled=${sending}>
          ${sending ? words.acts.sending : problem ? words.acts.again : words.acts.confirm[act]}</button>
      </footer>
    </form>
  </${Dialog}>`;
}

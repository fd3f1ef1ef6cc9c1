/** What a trigger would do with a message. Nothing is started. */
import { html, useId, useState } from "../base/ui.js";
import { words } from "../base/words.js";
import { testTrigger } from "../data/resources.js";
import { RequestProblem } from "./request-problem.js";

/** @param {{id: string, message: string, change: (text: string) => void}} props `message` is JSON */
export function TriggerTest({ id: trigger, message, change }) {
  const id = useId();
  const [tested, setTested] = useState(/** @type {import("../data/resources.js").Json | null} */ (null));
  const [testing, setTesting] = useState(false);
  const [problem, setProblem] = useState(/** @type {Error | null} */ (null));
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    if (testing) return;
    setTested(null);
    setProblem(notUsable(message));
    if (notUsable(message)) return;
    setTesting(true);
    try {
      setTested(await testTrigger(trigger, message)); // as it is typed: no digit gets lost
    } catch (error) {
      setProblem(/** @type {Error} */ (error));
    }
    setTesting(false);
  };
  return html`<form onSubmit=${submit}>
    <div class="field">
      <label for=${id}>${words.triggers.message}</label>
      <textarea id=${id} rows="9" required spellcheck=${false} value=${message} aria-describedby=${`${id}-help`}
        placeholder=${'{"id": "pay-1", "amount": 1250}'}
        onInput=${(/** @type {any} */ event) => change(event.target.value)}></textarea>
      <p class="sub" id=${`${id}-help`}>${words.triggers.testHelp}</p>
    </div>
    <button type="submit" class="primary" aria-disabled=${testing}>${testing ? words.triggers.testing : words.triggers.testButton}</button>
    <div role="status">${problem && html`<${RequestProblem} error=${problem} />`}
      ${tested && html`<${Outcome} tested=${tested} />`}</div>
  </form>`;
}

/** @param {{tested: import("../data/resources.js").Json}} props */
function Outcome({ tested: { filter, variables } }) {
  if (filter?.error) return html`<p class="failure"><strong>${words.triggers.filterError}</strong> ${filter.error}</p>`;
  if (filter && !filter.match) return html`<p class="verdict">${words.triggers.noMatch}</p>`;
  return html`<p class="verdict good">✓ ${words.triggers.matches}</p>
    ${variables && html`<h3>${words.triggers.wouldGive}</h3>
      <dl class="pairs">${Object.entries(variables).map(([name, result]) => html`<div key=${name}><dt>${name}</dt>
        <dd>${result.error ? html`<span class="failure">${result.error}</span>` : html`<code>${result.value}</code>`}</dd></div>`)}</dl>`}`;
}

/** @param {string} message @returns {Error | null} */
function notUsable(message) {
  try {
    const value = JSON.parse(message);
    const isObject = value !== null && typeof value === "object" && !Array.isArray(value);
    return isObject ? null : new Error(words.triggers.notObject);
  } catch (error) {
    return new Error(`${words.triggers.notJson} ${/** @type {Error} */ (error).message}`);
  }
}

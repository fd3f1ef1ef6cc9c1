/** The dialog before a workflow is deleted. */
import { html, useRef, useState } from "../base/ui.js";
import { words } from "../base/words.js";
import { newKey } from "../data/http.js";
import { deleteWorkflow } from "../data/resources.js";
import { Dialog } from "./dialog.js";
import { ReasonField } from "./reason-field.js";
import { RequestProblem } from "./request-problem.js";

/** @param {{id: string, close: () => void, refresh: () => void}} props */
export function DeleteWorkflowDialog({ id, close, refresh }) {
  const key = useRef(newKey()).current;
  const [reason, setReason] = useState("");
  const [sending, setSending] = useState(false);
  const [problem, setProblem] = useState(/** @type {Error | null} */ (null));
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    if (sending) return;
    setSending(true);
    try {
      await deleteWorkflow(id, { reason: reason.trim(), key });
      close();
      refresh();
    } catch (error) {
      setProblem(/** @type {Error} */ (error));
      setSending(false);
    }
  };
  return html`<${Dialog} title=${words.workflows.removeTitle} close=${close}>
    <form onSubmit=${submit}>
      <p>${words.workflows.removeAbout}</p>
      <${ReasonField} value=${reason} change=${setReason} />
      <div role="alert">${problem && html`<${RequestProblem} error=${problem} />`}</div>
      <footer><button type="button" onClick=${close}>${words.cancel}</button>
        <button type="submit" class="danger filled" aria-disabled=${sending}>${words.workflows.removeConfirm}</button></footer>
    </form>
  </${Dialog}>`;
}

/** A new workflow: an editor that checks the definition while somebody types. */
import { go, linkTo } from "../base/addresses.js";
import { html, useRef, useState } from "../base/ui.js";
import { words } from "../base/words.js";
import { Editor } from "../components/editor.js";
import { Findings } from "../components/findings.js";
import { PageTitle } from "../components/page-title.js";
import { Problem } from "../components/problem.js";
import { ReasonField } from "../components/reason-field.js";
import { RequestProblem } from "../components/request-problem.js";
import { newKey } from "../data/http.js";
import { useLive } from "../data/live.js";
import { createWorkflow, getWorkflow } from "../data/resources.js";
import { mayWrite } from "../data/session.js";
import { useValidation } from "../data/validation.js";
import { yaml } from "../domain/yaml.js";
import { definitionOf } from "./workflow.js";

/** @param {{query: URLSearchParams}} props `from` is the workflow to begin with */
export function NewWorkflowPage({ query }) {
  const from = query.get("from");
  const { data, error } = useLive(from ? (signal) => getWorkflow(from, signal) : null, [from]);
  return html`<${PageTitle} text=${words.editor.title} />
    ${from && !data ? html`<${Problem} error=${error} notFound=${words.workflows.notFound} />`
      : html`<${Draft} key=${from ?? ""} begin=${data ? yaml(definitionOf(data)) : words.editor.example} />`}`;
}

/** @param {{begin: string}} props */
function Draft({ begin }) {
  const [text, setText] = useState(begin);
  const [reason, setReason] = useState("");
  const [sending, setSending] = useState(false);
  const [problem, setProblem] = useState(/** @type {Error | null} */ (null));
  const checked = useValidation(text);
  const key = useRef({ text, key: newKey() });
  const editor = useRef(/** @type {{jump: (line: number, column: number) => void} | null} */ (null));
  const create = async (/** @type {Event} */ event) => {
    event.preventDefault();
    if (sending || !mayWrite()) return;
    if (key.current.text !== text) key.current = { text, key: newKey() };
    setSending(true);
    setProblem(null);
    try {
      const { id } = await createWorkflow(text, { reason: reason.trim(), key: key.current.key });
      go(linkTo(["workflows", id]));
    } catch (error) {
      setProblem(/** @type {Error} */ (error));
      setSending(false);
    }
  };
  return html`<form onSubmit=${create}>
    <div class="columns">
      <section class="card">
        <${Editor} text=${text} change=${setText} findings=${checked.validation?.findings ?? []} handle=${editor} />
      </section>
      <section class="card" aria-labelledby="checks">
        <h2 id="checks">${words.editor.checks}</h2>
        <${Findings} checked=${checked} jump=${(/** @type {number} */ line, /** @type {number} */ column) => editor.current?.jump(line, column)} />
        ${!mayWrite() ? html`<p class="sub">${words.readOnlyWhy}</p>` : html`
        <${ReasonField} value=${reason} change=${setReason} />
        <div role="alert">${problem && html`<${RequestProblem} error=${problem} />`}</div>
        <button type="submit" class="primary" disabled=${checked.validation?.valid === false} aria-disabled=${sending}>
          ${sending ? words.editor.creating : words.editor.create}</button>
        ${checked.validation?.valid === false && html`<p class="sub">${words.editor.hasErrors}</p>`}`}
      </section>
    </div>
  </form>`;
}

/** What is wrong with a definition, each with a way to its line, and the variables that it uses. */
import { html } from "../base/ui.js";
import { words } from "../base/words.js";
import { RequestProblem } from "./request-problem.js";

/**
 * @param {{checked: import("../data/validation.js").Checked, jump: (line: number, column: number) => void}} props
 */
export function Findings({ checked: { validation, checking, error }, jump }) {
  const findings = validation?.findings ?? [];
  const errors = findings.filter((/** @type {any} */ one) => one.severity === "error").length;
  return html`<div class="findings">
    <p role="status" class=${errors ? "verdict bad" : "verdict"}>
      ${!validation ? (error ? "" : words.editor.checking)
        : findings.length ? words.editor.findings(errors, findings.length - errors) : `✓ ${words.editor.fine}`}
      ${validation && checking ? " …" : ""}</p>
    ${error && html`<${RequestProblem} error=${error} />`}
    <ul>${findings.map((/** @type {any} */ finding, /** @type {number} */ index) => html`<li key=${index} class=${finding.severity}>
      <p><strong>${words.editor[finding.severity === "error" ? "error" : "warning"]}</strong>${" "}
        ${finding.line
          ? html`<button type="button" class="quiet" onClick=${() => jump(finding.line, finding.column ?? 1)}>${words.editor.line(finding.line)}</button>`
          : html`<span class="sub">${finding.path || words.editor.whole}</span>`}</p>
      <p>${finding.message}</p>
      ${finding.suggestion && html`<p class="sub">${words.editor.maybe} <code>${finding.suggestion}</code>?</p>`}
    </li>`)}</ul>
    ${validation?.variables?.length > 0 && html`<h3>${words.editor.uses}</h3>
      <p>${validation?.variables.map((/** @type {any} */ one) => html`<span class="key" key=${one.name}><code>${one.name}</code>${" "}
        <span class="sub">${one.required ? words.workflows.required : words.workflows.optional}</span></span> `)}</p>`}
  </div>`;
}

/** A form that starts an instance, made of the variables that the definition uses. */
import { go, linkTo } from "../base/addresses.js";
import { html, useId, useIsShown, useRef, useState } from "../base/ui.js";
import { words } from "../base/words.js";
import { newKey } from "../data/http.js";
import { useLive } from "../data/live.js";
import { runWorkflow, validate } from "../data/resources.js";
import { Problem } from "./problem.js";
import { ReasonField } from "./reason-field.js";
import { RequestProblem } from "./request-problem.js";
import { json } from "../base/formats.js";

/** @param {{workflow: import("../data/resources.js").Json}} props */
export function RunForm({ workflow }) {
  const id = useId();
  const { stages, name } = workflow.config;
  const { data, error } = useLive((signal) => validate(json({ name, stages }), "application/json", signal), [workflow.id]);
  const [values, setValues] = useState(/** @type {Record<string, string>} */ (Object.create(null)));
  const [reason, setReason] = useState("");
  const [sending, setSending] = useState(false);
  const [problem, setProblem] = useState(/** @type {Error | null} */ (null));
  const key = useRef(newKey());
  const isShown = useIsShown();
  if (!data) return html`<${Problem} error=${error} />`;
  const change = (/** @type {string} */ variable, /** @type {string} */ value) => {
    key.current = newKey(); // other variables are another request
    setValues(Object.assign(Object.create(null), values, { [variable]: value }));
  };
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    if (sending) return;
    setSending(true);
    setProblem(null);
    // What was left empty was not given, and may have a default.
    const given = Object.fromEntries(Object.entries(values).filter(([, value]) => value !== ""));
    try {
      const { id: started } = await runWorkflow(workflow.id, given, { reason: reason.trim(), key: key.current });
      if (isShown.current) go(linkTo(["instances", started])); // nobody is pulled away from another page
    } catch (error) {
      setProblem(/** @type {Error} */ (error));
      setSending(false);
    }
  };
  return html`<form onSubmit=${submit}>
    <p class="sub">${data.variables.length ? words.workflows.runHelp : words.workflows.noVariables}</p>
    ${data.variables.map((/** @type {any} */ variable) => html`<div class="field" key=${variable.name}>
      <label for=${`${id}-${variable.name}`}>${variable.name}${" "}
        <span class="sub">${variable.required ? words.workflows.required : words.workflows.optional}</span></label>
      <input id=${`${id}-${variable.name}`} required=${variable.required} value=${values[variable.name] ?? ""} autocomplete="off"
        inputmode=${variable.uses[0]?.readAs === "integer" ? "numeric" : undefined} aria-describedby=${`${id}-${variable.name}-help`}
        onInput=${(/** @type {any} */ event) => change(variable.name, event.target.value)} />
      <p class="sub" id=${`${id}-${variable.name}-help`} title=${variable.uses.map((/** @type {any} */ use) => use.path).join("\n")}>${usesText(variable)}</p>
    </div>`)}
    <${ReasonField} value=${reason} change=${setReason} />
    <div role="alert">${problem && html`<${RequestProblem} error=${problem} />`}</div>
    <button type="submit" class="primary" aria-disabled=${sending}>${sending ? words.workflows.starting : words.workflows.start}</button>
  </form>`;
}

/** Where a variable is used, and what it must look like there. @param {any} variable */
function usesText({ uses }) {
  const [first] = uses;
  if (!first) return "";
  const kind = words.workflows.readAs[first.readAs] ?? first.readAs;
  const stages = uses.map((/** @type {any} */ use) => Number(/^stages\[(\d+)\]/.exec(use.path)?.[1] ?? -1) + 1).filter(Boolean);
  return `${kind} · ${words.workflows.usedIn([...new Set(stages)])}`;
}

/** A workflow: its definition, a form to run it, its instances, how long its stages take. */
import { go, linkTo } from "../base/addresses.js";
import { html, useMemo, useState } from "../base/ui.js";
import { words } from "../base/words.js";
import { ActList } from "../components/act-list.js";
import { CopyButton } from "../components/copy-button.js";
import { DeleteWorkflowDialog } from "../components/delete-workflow-dialog.js";
import { InstanceTable } from "../components/instance-table.js";
import { PageTitle } from "../components/page-title.js";
import { Problem } from "../components/problem.js";
import { RunForm } from "../components/run-form.js";
import { WorkflowStats } from "../components/workflow-stats.js";
import { When } from "../components/when.js";
import { useLive } from "../data/live.js";
import { getWorkflow, listInstances } from "../data/resources.js";
import { mayWrite } from "../data/session.js";
import { yaml } from "../domain/yaml.js";

const EVERY_MS = 2000;

/** How many instances are shown here; the search has the others. */
const INSTANCES = 10;

/** @param {{id: string}} props */
export function WorkflowPage({ id }) {
  const { data: workflow, error, refresh } = useLive((signal) => getWorkflow(id, signal), [id], { every: EVERY_MS });
  const [deleting, setDeleting] = useState(false);
  const text = useMemo(() => (workflow ? yaml(definitionOf(workflow)) : ""), [workflow]);
  if (!workflow) {
    return html`<${PageTitle} text=${words.instance.workflow} />
      <${Problem} error=${error} notFound=${words.workflows.notFound} notFoundHelp=${words.workflows.notFoundHelp} />`;
  }
  const writable = mayWrite() && !workflow.deletedAt;
  return html`
    <div class="page-head"><${PageTitle} text=${workflow.config.name || words.unnamed} />
      ${workflow.deletedAt && html`<span class="badge">${words.workflows.deleted}</span>`}
      <span class="sub id"><code>${id}</code> <${CopyButton} text=${id} what=${words.instance.id} /></span></div>
    <div class="columns">
      <section class="card" aria-labelledby="definition">
        <h2 id="definition">${words.workflows.definition}</h2>
        <div class="code-box"><pre tabindex="0" role="group" aria-label=${words.workflows.definition}><code>${text}</code></pre>
          <${CopyButton} text=${text} what=${words.workflows.definition} /></div>
        <p class="sub">${words.workflows.columns.created} <${When} at=${workflow.createdAt} /></p>
        <${ActList} acts=${workflow.acts} />
        <div class="acts">
          ${mayWrite() && html`<button type="button" onClick=${() => go(linkTo(["workflows", "new"], { from: id }))}>
            ${words.workflows.edit}</button>`}
          ${writable && html`<button type="button" class="danger" onClick=${() => setDeleting(true)}>${words.workflows.remove}</button>`}
        </div>
      </section>
      ${writable && html`<section class="card" aria-labelledby="run">
        <h2 id="run">${words.workflows.run}</h2>
        <${RunForm} workflow=${workflow} />
      </section>`}
    </div>
    <${WorkflowStats} workflow=${workflow} />
    <${LastInstances} id=${id} />
    ${deleting && html`<${DeleteWorkflowDialog} id=${id} close=${() => setDeleting(false)} refresh=${refresh} />`}`;
}

/** @param {{id: string}} props */
function LastInstances({ id }) {
  const { data: page, error } = useLive((signal) => listInstances({ workflowID: id, pageSize: INSTANCES }, signal), [id], {
    every: EVERY_MS,
  });
  return html`<section class="part" aria-labelledby="instances">
    <div class="part-head"><h2 id="instances">${words.workflows.instances}</h2>
      <a href=${linkTo(["search"], { workflow: id })}>${words.showAll}</a></div>
    ${!page
      ? html`<${Problem} error=${error} />`
      : page.data.length
        ? html`<${InstanceTable} instances=${page.data} label=${words.workflows.instances} />`
        : html`<p class="sub">${words.search.empty}</p>`}
  </section>`;
}

/** What creates such a workflow again. @param {import("../data/resources.js").Json} workflow */
export function definitionOf({ config: { name, activityMaxAttempts, stages } }) {
  return { ...(name ? { name } : {}), ...(activityMaxAttempts ? { activityMaxAttempts } : {}), stages };
}

/** All workflows. */
import { go, linkTo } from "../base/addresses.js";
import { shortId } from "../base/formats.js";
import { html } from "../base/ui.js";
import { words } from "../base/words.js";
import { Empty } from "../components/empty.js";
import { PageTitle } from "../components/page-title.js";
import { Pager } from "../components/pager.js";
import { Problem } from "../components/problem.js";
import { When } from "../components/when.js";
import { useLive } from "../data/live.js";
import { listWorkflows } from "../data/resources.js";
import { mayWrite } from "../data/session.js";
import { kindOf } from "../domain/definitions.js";

const EVERY_MS = 5000;

/** @param {import("../data/resources.js").Json} stage */
const stageName = (stage) => words.stages[kindOf(stage)] ?? kindOf(stage);

/** @param {{query: URLSearchParams}} props */
export function WorkflowsPage({ query }) {
  const cursor = query.get("cursor") ?? "";
  const { data: page, error } = useLive((signal) => listWorkflows({ cursor }, signal), [cursor], { every: EVERY_MS });
  const { columns } = words.workflows;
  return html`
    <div class="page-head"><${PageTitle} text=${words.workflows.title} />
      ${mayWrite() && html`<a class="button" href=${linkTo(["workflows", "new"])}>${words.workflows.create}</a>`}</div>
    ${!page
      ? html`<${Problem} error=${error} />`
      : !page.data.length
        ? html`<${Empty} title=${words.workflows.empty} help=${words.workflows.emptyHelp} />`
        : html`<table class="list" aria-label=${words.workflows.title}>
          <thead><tr><th scope="col">${columns.name}</th><th scope="col">${columns.stages}</th>
            <th scope="col">${columns.created}</th><th scope="col">${columns.id}</th></tr></thead>
          <tbody>${page.data.map((workflow) => html`<tr key=${workflow.id}>
            <th scope="row"><a class="row-link" href=${linkTo(["workflows", workflow.id])}>
              ${workflow.config.name || words.unnamed}</a></th>
            <td class="now">${workflow.config.stages.map(stageName).join(" → ")}</td>
            <td><${When} at=${workflow.createdAt} /></td>
            <td><code title=${workflow.id}>${shortId(workflow.id)}</code></td>
          </tr>`)}</tbody>
        </table>
        <${Pager} page=${page} turn=${(/** @type {string} */ to) => go(linkTo(["workflows"], { cursor: to }))} />`}`;
}

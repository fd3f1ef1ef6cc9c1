/** All triggers. */
import { go, linkTo } from "../base/addresses.js";
import { html } from "../base/ui.js";
import { words } from "../base/words.js";
import { Empty } from "../components/empty.js";
import { PageTitle } from "../components/page-title.js";
import { Pager } from "../components/pager.js";
import { Problem } from "../components/problem.js";
import { WorkflowLink } from "../components/workflow-link.js";
import { useLive } from "../data/live.js";
import { listTriggers } from "../data/resources.js";

const EVERY_MS = 5000;

/** @param {{query: URLSearchParams}} props */
export function TriggersPage({ query }) {
  const cursor = query.get("cursor") ?? "";
  const { data: page, error } = useLive((signal) => listTriggers({ cursor }, signal), [cursor], { every: EVERY_MS });
  const { columns } = words.triggers;
  return html`<${PageTitle} text=${words.triggers.title} />
    ${!page
      ? html`<${Problem} error=${error} />`
      : !page.data.length
        ? html`<${Empty} title=${words.triggers.empty} help=${words.triggers.emptyHelp} />`
        : html`<table class="list" aria-label=${words.triggers.title}>
          <thead><tr><th scope="col">${columns.name}</th><th scope="col">${columns.event}</th>
            <th scope="col">${columns.workflow}</th></tr></thead>
          <tbody>${page.data.map((trigger) => html`<tr key=${trigger.id}>
            <th scope="row"><a class="row-link" href=${linkTo(["triggers", trigger.id])}>${trigger.name || words.unnamed}</a></th>
            <td><code>${trigger.event}</code>${trigger.version && html` <span class="sub">${trigger.version}</span>`}</td>
            <td><${WorkflowLink} id=${trigger.workflowID} /></td>
          </tr>`)}</tbody>
        </table>
        <${Pager} page=${page} turn=${(/** @type {string} */ to) => go(linkTo(["triggers"], { cursor: to }))} />`}`;
}

/** All bulk operations. */
import { go, linkTo } from "../base/addresses.js";
import { count } from "../base/formats.js";
import { html } from "../base/ui.js";
import { words } from "../base/words.js";
import { BulkFilter } from "../components/bulk-filter.js";
import { Empty } from "../components/empty.js";
import { PageTitle } from "../components/page-title.js";
import { Pager } from "../components/pager.js";
import { Problem } from "../components/problem.js";
import { When } from "../components/when.js";
import { useLive } from "../data/live.js";
import { listBulks } from "../data/resources.js";

const EVERY_MS = 2000;

/** @param {{query: URLSearchParams}} props */
export function BulksPage({ query }) {
  const cursor = query.get("cursor") ?? "";
  const { data: page, error } = useLive((signal) => listBulks({ cursor }, signal), [cursor], { every: EVERY_MS });
  return html`<${PageTitle} text=${words.bulk.title} />
    ${!page
      ? html`<${Problem} error=${error} />`
      : !page.data.length
        ? html`<${Empty} title=${words.bulk.empty} help=${words.bulk.emptyHelp} />`
        : html`<table class="list" aria-label=${words.bulk.title}>
          <thead><tr><th scope="col">${words.bulk.what}</th><th scope="col">${words.bulk.filter}</th><th scope="col">${words.search.state}</th>
            <th scope="col" class="end">${words.bulk.counts.done}</th><th scope="col">${words.bulk.begun}</th></tr></thead>
          <tbody>${page.data.map((one) => html`<tr key=${one.id}>
            <th scope="row"><a class="row-link" href=${linkTo(["bulk", one.id])}>${words.bulk.actions[one.action] ?? one.action}</a>
              ${one.by && html`<span class="sub">${words.instance.by} ${one.by}</span>`}</th>
            <td class="now"><${BulkFilter} filter=${one.filter} /></td>
            <td>${words.bulk.states[one.state] ?? one.state}</td>
            <td class="end">${count(one.done)}</td>
            <td class="nowrap"><${When} at=${one.createdAt} /></td></tr>`)}</tbody>
        </table>
        <${Pager} page=${page} turn=${(/** @type {string} */ to) => go(linkTo(["bulk"], { cursor: to }))} />`}`;
}

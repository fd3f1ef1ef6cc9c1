/** Search: one box, filters as chips, results that stay fresh. Everything is in the address, so a search can be shared. */
import { go, linkTo } from "../base/addresses.js";
import { html, useEffect, useState } from "../base/ui.js";
import { words } from "../base/words.js";
import { BulkDialog } from "../components/bulk-dialog.js";
import { Empty } from "../components/empty.js";
import { FilterBar } from "../components/filter-bar.js";
import { InstanceTable } from "../components/instance-table.js";
import { PageTitle } from "../components/page-title.js";
import { Pager } from "../components/pager.js";
import { Problem } from "../components/problem.js";
import { find } from "../data/finding.js";
import { useLive } from "../data/live.js";
import { mayWrite } from "../data/session.js";
import { apiFilters, filtersOf, isFiltered, queryOf } from "../domain/filters.js";

/** Pause between two looks at the first page. */
const EVERY_MS = 2000;

/** @param {{query: URLSearchParams}} props */
export function SearchPage({ query }) {
  const search = filtersOf(query);
  const cursor = query.get("cursor") ?? "";
  const show = (/** @type {import("../domain/filters.js").Search} */ next, at = "") =>
    go(linkTo(["search"], { ...queryOf(next), cursor: at }));
  const { data: found, error } = useLive((signal) => find(search, cursor, signal), [query.toString()], {
    every: EVERY_MS,
    stream: search.q || cursor ? null : { path: "v2/instances/stream", query: apiFilters(search, Date.now()) },
  });
  const [acting, setActing] = useState(false);
  useEffect(() => setActing(false), [query.toString()]); // it would act on what is not shown any more
  const id = found?.instanceID;
  useEffect(() => {
    if (id) go(linkTo(["instances", id]), { replace: true });
  }, [id]);
  return html`
    <div class="page-head"><${PageTitle} text=${words.search.title} />
      <span class="end">${mayWrite() && html`<button type="button" class="small" disabled=${!found?.page?.data.length || Boolean(search.q && !found.by)}
        onClick=${() => setActing(true)}>${words.bulk.act}</button>`}
        <a href=${linkTo(["bulk"])}>${words.bulk.title}</a></span></div>
    <${FilterBar} search=${search} show=${show} />
    ${acting && html`<${BulkDialog} filter=${{ ...apiFilters(search, Date.now()), ...(found?.by ? { [found.by]: search.q } : {}) }}
      close=${() => setActing(false)} />`}
    <section aria-label=${words.search.results} aria-busy=${!found}>
      ${found?.page ? html`<${Results} found=${found} search=${search} turn=${(/** @type {string} */ to) => show(search, to)} />`
        : html`<${Problem} error=${error} />`}
    </section>`;
}

/**
 * @param {{found: import("../data/finding.js").Found, search: import("../domain/filters.js").Search,
 *   turn: (cursor: string) => void}} props
 */
function Results({ found: { page, by }, search, turn }) {
  if (!page) return null;
  if (!page.data.length && page.next) {
    return html`<${Empty} title=${words.search.notYet} help=${words.search.notYetHelp} /><${Pager} page=${page} turn=${turn} />`;
  }
  if (!page.data.length) {
    return isFiltered(search)
      ? html`<${Empty} title=${words.search.nothing} help=${words.search.nothingHelp} />`
      : html`<${Empty} title=${words.search.empty} help=${words.search.emptyHelp} />`;
  }
  return html`
    ${by && html`<p class="sub" role="status">${by === "key" ? words.search.byKey(search.q) : words.search.byError(search.q)}</p>`}
    <${InstanceTable} instances=${page.data} label=${words.search.results} />
    <${Pager} page=${page} turn=${turn} />`;
}

/** Overview: what needs a person, what waits longest, and how much runs, by workflow and over time. */
import { go, linkTo } from "../base/addresses.js";
import { html } from "../base/ui.js";
import { words } from "../base/words.js";
import { BarChart } from "../components/bar-chart.js";
import { InstanceTable } from "../components/instance-table.js";
import { OldestList } from "../components/oldest-list.js";
import { PageTitle } from "../components/page-title.js";
import { PeriodChoice } from "../components/period-choice.js";
import { Problem } from "../components/problem.js";
import { StateCounts } from "../components/state-counts.js";
import { WorkflowTable } from "../components/workflow-table.js";
import { useLive } from "../data/live.js";
import { listInstances } from "../data/resources.js";
import { useStats } from "../data/stats.js";
import { NEEDS_PERSON } from "../domain/states.js";

const EVERY_MS = 3000;

/** How many instances are shown here; the search has the others. */
const ROWS = 8;

/** @param {{query: URLSearchParams}} props */
export function OverviewPage({ query }) {
  const asked = query.get("period") ?? "";
  const period = Object.hasOwn(words.overview.periods, asked) ? asked : "24h";
  const { data: stats, error } = useStats(period);
  return html`
    <div class="page-head"><${PageTitle} text=${words.overview.title} />
      <${PeriodChoice} value=${period} change=${(/** @type {string} */ next) => go(linkTo(["overview"], { period: next }))} /></div>
    ${!stats ? html`<${Problem} error=${error} />` : html`<${StateCounts} states=${stats.states} />`}
    <${NeedsPerson} />
    ${stats && html`
      <section class="part" aria-labelledby="over-time"><h2 id="over-time">${words.overview.overTime}</h2>
        <div class="card"><${BarChart} steps=${stats.steps} label=${words.overview.overTime} /></div></section>
      <section class="part" aria-labelledby="oldest"><h2 id="oldest">${words.overview.oldest}</h2>
        <${OldestList} oldest=${stats.oldest} /></section>
      <section class="part" aria-labelledby="by-workflow"><h2 id="by-workflow">${words.overview.byWorkflow}</h2>
        <${WorkflowTable} workflows=${stats.workflows} /></section>`}`;
}

function NeedsPerson() {
  const { data: found, error } = useLive(async (signal) => {
    const [paused, failed] = await Promise.all([
      listInstances({ state: "paused", pageSize: ROWS }, signal),
      listInstances({ state: "failed", pageSize: ROWS }, signal),
    ]);
    return [...paused.data, ...failed.data].slice(0, ROWS);
  }, [], { every: EVERY_MS });
  return html`<section class="part" aria-labelledby="needs"><div class="part-head"><h2 id="needs">${words.overview.needsPerson}</h2>
      <a href=${linkTo(["search"], { state: NEEDS_PERSON })}>${words.showAll}</a></div>
    ${!found ? html`<${Problem} error=${error} />`
      : found.length ? html`<${InstanceTable} instances=${found} label=${words.overview.needsPerson} />`
        : html`<p class="sub">✓ ${words.overview.nothingNeeds}</p>`}
  </section>`;
}

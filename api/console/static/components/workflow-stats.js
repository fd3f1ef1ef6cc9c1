/** How many instances of a workflow are in which state, what has ended, and how long its stages take. */
import { count, duration } from "../base/formats.js";
import { html, useState } from "../base/ui.js";
import { words } from "../base/words.js";
import { useStats } from "../data/stats.js";
import { stageText } from "../domain/descriptions.js";
import { BarChart } from "./bar-chart.js";
import { PeriodChoice } from "./period-choice.js";
import { Problem } from "./problem.js";
import { StateCounts } from "./state-counts.js";

/** @typedef {import("../data/resources.js").Json} Json */

/** @param {{workflow: Json}} props */
export function WorkflowStats({ workflow }) {
  const [period, setPeriod] = useState("24h");
  const { data: stats, error } = useStats(period, workflow.id);
  return html`<section class="card" aria-labelledby="states">
    <div class="part-head"><h2 id="states">${words.workflows.states}</h2><${PeriodChoice} value=${period} change=${setPeriod} /></div>
    ${!stats ? html`<${Problem} error=${error} />` : html`
      <${StateCounts} states=${stats.states} workflow=${workflow.id} />
      <${BarChart} steps=${stats.steps} label=${words.overview.overTime} />
      <h3>${words.workflows.durations}</h3>
      <${Durations} stats=${stats} stages=${workflow.config.stages} />`}
  </section>`;
}

/** @param {{stats: Json, stages: Json[]}} props */
function Durations({ stats, stages }) {
  const { durationColumns: columns } = words.workflows;
  const rows = [
    ...(stats.stages ?? []).map((/** @type {Json} */ stage) => ({
      key: stage.stage, name: stages[stage.stage] ? stageText(stages[stage.stage], {}) : stage.stage, ...stage.ended.succeeded,
    })),
    { key: "whole", name: words.workflows.wholeRun, ...stats.ended.succeeded },
  ].filter((row) => row.count);
  if (!rows.length) return html`<p class="sub">${words.workflows.noDurations}</p>`;
  return html`<div class="scrolls" tabindex="0" role="group" aria-label=${words.workflows.durations}><table class="list numbers">
    <thead><tr><th scope="col">${columns.stage}</th><th scope="col" class="end">${columns.half}</th>
      <th scope="col" class="end">${columns.most}</th><th scope="col" class="end">${columns.count}</th></tr></thead>
    <tbody>${rows.map((row) => html`<tr key=${row.key}><th scope="row">${row.name}</th>
      <td class="end nowrap">${duration(row.p50Seconds * 1000)}</td><td class="end nowrap">${duration(row.p95Seconds * 1000)}</td>
      <td class="end">${count(row.count)}</td></tr>`)}</tbody>
  </table></div>`;
}

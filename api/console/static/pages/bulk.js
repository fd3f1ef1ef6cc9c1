/** A bulk operation: how far it has come, what was refused and why, and a button to stop it. */
import { count } from "../base/formats.js";
import { html, useState } from "../base/ui.js";
import { words } from "../base/words.js";
import { BulkFilter } from "../components/bulk-filter.js";
import { PageTitle } from "../components/page-title.js";
import { Problem } from "../components/problem.js";
import { ProgressBar } from "../components/progress-bar.js";
import { RequestProblem } from "../components/request-problem.js";
import { When } from "../components/when.js";
import { newKey } from "../data/http.js";
import { useLive } from "../data/live.js";
import { getBulk, stopBulk } from "../data/resources.js";
import { mayWrite } from "../data/session.js";

const EVERY_MS = 1000;

/** @param {{id: string}} props */
export function BulkPage({ id }) {
  const { data: bulk, error, refresh } = useLive((signal) => getBulk(id, signal), [id], { every: EVERY_MS });
  const [problem, setProblem] = useState(/** @type {Error | null} */ (null));
  if (!bulk) return html`<${PageTitle} text=${words.bulk.title} /><${Problem} error=${error} notFound=${words.bulk.notFound} />`;
  const action = words.bulk.actions[bulk.action] ?? bulk.action;
  const handled = bulk.done + bulk.refused + (bulk.lost ?? 0);
  const goal = bulk.terminatedAt ? bulk.sent : Math.max(bulk.expected ?? 0, bulk.sent);
  const stop = async () => {
    setProblem(null);
    try {
      await stopBulk(id, { key: newKey() });
    } catch (error) {
      setProblem(/** @type {Error} */ (error));
    }
    refresh();
  };
  return html`
    <div class="page-head"><${PageTitle} text=${`${words.bulk.title}: ${action}`} />
      <span class="badge">${words.bulk.states[bulk.state] ?? bulk.state}</span></div>
    <section class="card" aria-label=${words.bulk.progressName}>
      <p role="status"><strong>${words.bulk.progress(count(handled), count(goal))}</strong></p>
      <${ProgressBar} done=${handled} of=${goal} label=${words.bulk.progressName} />
      <dl class="facts">
        <div><dt>${words.bulk.counts.done}</dt><dd>${count(bulk.done)}</dd></div>
        <div><dt>${words.bulk.counts.refused}</dt><dd>${count(bulk.refused)}</dd></div>
        ${bulk.lost && html`<div><dt>${words.bulk.counts.lost}</dt><dd>${count(bulk.lost)}</dd></div>`}
        <div><dt>${words.bulk.begun}</dt><dd><${When} at=${bulk.createdAt} /></dd></div>
        ${bulk.terminatedAt && html`<div><dt>${words.instance.endedAt}</dt><dd><${When} at=${bulk.terminatedAt} /></dd></div>`}
        ${bulk.by && html`<div><dt>${words.bulk.by}</dt><dd>${bulk.by}</dd></div>`}
        ${bulk.reason && html`<div><dt>${words.bulk.reason}</dt><dd>${bulk.reason}</dd></div>`}
      </dl>
      <h2 class="gap">${words.bulk.filter}</h2><p><${BulkFilter} filter=${bulk.filter} /></p>
      ${bulk.refused > 0 && html`<h2 class="gap">${words.bulk.whyRefused}</h2>
        <dl class="pairs">${Object.entries(bulk.refusals).map(([why, number]) => html`<div key=${why}><dt>${why}</dt><dd>${count(number)}</dd></div>`)}</dl>`}
      ${problem && html`<${RequestProblem} error=${problem} />`}
      ${bulk.state === "running" && mayWrite() && html`<p><button type="button" class="danger" onClick=${() => void stop()}>${words.bulk.stop}</button></p>`}
    </section>`;
}

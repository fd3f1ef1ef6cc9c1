/** A trigger: what it listens for, what came of messages, and a test with a real one. */
import { go, linkTo } from "../base/addresses.js";
import { json } from "../base/formats.js";
import { html, useState } from "../base/ui.js";
import { words } from "../base/words.js";
import { ActList } from "../components/act-list.js";
import { OccurrenceTable } from "../components/occurrence-table.js";
import { PageTitle } from "../components/page-title.js";
import { Pager } from "../components/pager.js";
import { Problem } from "../components/problem.js";
import { TriggerTest } from "../components/trigger-test.js";
import { When } from "../components/when.js";
import { WorkflowLink } from "../components/workflow-link.js";
import { useLive } from "../data/live.js";
import { getTrigger, listOccurrences } from "../data/resources.js";
import { mayWrite } from "../data/session.js";

const EVERY_MS = 3000;

/** @param {{id: string, query: URLSearchParams}} props */
export function TriggerPage({ id, query }) {
  const cursor = query.get("cursor") ?? "";
  const { data: trigger, error } = useLive((signal) => getTrigger(id, signal), [id], { every: EVERY_MS });
  const occurrences = useLive((signal) => listOccurrences(id, { cursor }, signal), [id, cursor], { every: EVERY_MS });
  const [message, setMessage] = useState("");
  if (!trigger) {
    return html`<${PageTitle} text=${words.triggers.title} />
      <${Problem} error=${error} notFound=${words.triggers.notFound} notFoundHelp=${words.triggers.notFoundHelp} />`;
  }
  const variables = Object.entries(trigger.vars ?? {});
  const page = occurrences.data;
  return html`
    <div class="page-head"><${PageTitle} text=${trigger.name || words.unnamed} />
      <span class="sub id"><code>${id}</code></span></div>
    <div class="columns">
      <section class="card" aria-labelledby="listens">
        <h2 id="listens">${words.triggers.listens}</h2>
        <dl class="facts">
          <div><dt>${words.triggers.event}</dt><dd><code>${trigger.event}</code></dd></div>
          <div><dt>${words.triggers.version}</dt><dd>${trigger.version ?? words.triggers.anyVersion}</dd></div>
          <div><dt>${words.triggers.starts}</dt><dd><${WorkflowLink} id=${trigger.workflowID} /></dd></div>
          <div><dt>${words.triggers.created}</dt><dd><${When} at=${trigger.createdAt} /></dd></div>
        </dl>
        <h3>${words.triggers.filter}</h3>
        ${trigger.filter ? html`<pre tabindex="0" role="group" aria-label=${words.triggers.filter}><code>${trigger.filter}</code></pre>`
          : html`<p class="sub">${words.triggers.noFilter}</p>`}
        <h3>${words.triggers.variables}</h3>
        ${variables.length
          ? html`<dl class="pairs">${variables.map(([name, text]) => html`<div key=${name}><dt>${name}</dt><dd><code>${text}</code></dd></div>`)}</dl>`
          : html`<p class="sub">${words.triggers.noVariables}</p>`}
        <${ActList} acts=${trigger.acts} />
      </section>
      ${mayWrite() && html`<section class="card" aria-labelledby="test"><h2 id="test">${words.triggers.test}</h2>
        <${TriggerTest} id=${id} message=${message} change=${setMessage} /></section>`}
    </div>
    <section class="part" aria-labelledby="occurrences">
      <h2 id="occurrences">${words.triggers.occurrences}</h2>
      ${!page
        ? html`<${Problem} error=${occurrences.error} />`
        : page.data.length
          ? html`<${OccurrenceTable} occurrences=${page.data}
              use=${mayWrite() ? (/** @type {unknown} */ payload) => {
                setMessage(json(payload));
                document.getElementById("test")?.scrollIntoView({ block: "center" });
              } : null} />
            <${Pager} page=${page} turn=${(/** @type {string} */ to) => go(linkTo(["triggers", id], { cursor: to }))} />`
          : html`<p class="sub">${words.triggers.noOccurrences}</p>`}
    </section>`;
}

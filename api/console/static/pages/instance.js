/** An instance: why it is where it is, what can be done, and everything that has happened. */
import { consoleAddress, linkTo } from "../base/addresses.js";
import { html } from "../base/ui.js";
import { words } from "../base/words.js";
import { ActButtons } from "../components/act-buttons.js";
import { ActList } from "../components/act-list.js";
import { CopyButton } from "../components/copy-button.js";
import { Elapsed } from "../components/elapsed.js";
import { Amounts } from "../components/amounts.js";
import { PageTitle } from "../components/page-title.js";
import { Problem } from "../components/problem.js";
import { RawData } from "../components/raw-data.js";
import { StateBadge } from "../components/state-badge.js";
import { Timeline } from "../components/timeline.js";
import { VariableList } from "../components/variable-list.js";
import { When } from "../components/when.js";
import { Why } from "../components/why.js";
import { useInstance } from "../data/instance.js";
import { instanceText } from "../domain/descriptions.js";
import { stateOf } from "../domain/states.js";
import { failureOf, stepsOf } from "../domain/timeline.js";

/** @param {{id: string}} props */
export function InstancePage({ id }) {
  const { data: view, error, refresh } = useInstance(id);
  if (!view) {
    return html`<${PageTitle} text=${words.instance.id + " " + id} />
      <${Problem} error=${error} notFound=${words.instance.notFound} notFoundHelp=${words.instance.notFoundHelp} />`;
  }
  const { instance } = view;
  const name = instanceText(instance);
  return html`
    <div class="page-head">
      <${PageTitle} text=${name}>${name}<${Amounts} instance=${instance} /></${PageTitle}>
      <${StateBadge} state=${stateOf(instance)} />
      <span class="sub id"><code>${id}</code> <${CopyButton} text=${id} what=${words.instance.id} />
        <${CopyButton} text=${new URL(linkTo(["instances", id]), consoleAddress).href} label=${words.instance.share} /></span>
    </div>
    <section class="card why-card" aria-label=${words.search.columns.now}>
      <${Why} instance=${instance} failure=${failureOf(view)} />
      <${ActButtons} instance=${instance} refresh=${refresh} />
    </section>
    <section class="card" aria-labelledby="about">
      <h2 id="about" class="hidden">${words.instance.about}</h2>
      <div class="sides"><div><dl class="facts">
        <div><dt>${words.instance.workflow}</dt>
          <dd><a href=${linkTo(["workflows", instance.workflowID])}>${name}</a></dd></div>
        <div><dt>${words.instance.started}</dt><dd><${When} at=${instance.createdAt} /></dd></div>
        <div><dt>${instance.terminated ? words.instance.took : words.instance.running}</dt>
          <dd><${Elapsed} from=${instance.createdAt} to=${instance.terminatedAt} /></dd></div>
        <div><dt>${words.instance.trigger}</dt><dd>${instance.trigger
          ? html`<a href=${linkTo(["triggers", instance.trigger.triggerID])}>${words.instance.triggerLink}</a>`
          : words.instance.byClient}</dd></div>
        ${instance.retries > 0 && html`<div><dt>${words.instance.retried}</dt><dd>${words.instance.times(instance.retries)}</dd></div>`}
      </dl>
      <${VariableList} variables=${instance.variables} /></div>
      ${instance.acts?.length > 0 && html`<div><${ActList} acts=${instance.acts} /></div>`}</div>
    </section>
    <section class="card" aria-labelledby="timeline">
      <h2 id="timeline">${words.instance.timeline}</h2>
      <${Timeline} steps=${stepsOf(view)} live=${!instance.terminated} />
    </section>
    <${RawData} view=${view} />`;
}

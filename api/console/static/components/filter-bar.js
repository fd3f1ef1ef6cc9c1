/** Filters: states as switches, workflow and time as choices, each set one as a chip that can be taken away. */
import { count } from "../base/formats.js";
import { html, useId } from "../base/ui.js";
import { words } from "../base/words.js";
import { useLive } from "../data/live.js";
import { listWorkflows } from "../data/resources.js";
import { useCounts } from "../data/stats.js";
import { isFiltered, PERIODS } from "../domain/filters.js";
import { STATES } from "../domain/states.js";
import { Chip } from "./chip.js";

/** How many workflows can be chosen from; for others there are their pages. */
const MAX_WORKFLOWS = 200;

/**
 * @param {{search: import("../domain/filters.js").Search, show: (search: import("../domain/filters.js").Search) => void}} props
 */
export function FilterBar({ search, show }) {
  const id = useId();
  const { data: workflows } = useLive((signal) => listWorkflows({ pageSize: MAX_WORKFLOWS }, signal), []);
  const { data: counts } = useCounts(search.workflow, !search.q && !search.since);
  const toggle = (/** @type {string} */ state) => {
    const states = search.states.includes(state) ? search.states.filter((one) => one !== state) : [...search.states, state];
    show({ ...search, states });
  };
  const known = workflows?.data ?? [];
  const chosen = known.find((workflow) => workflow.id === search.workflow);
  return html`<div class="filters" role="group" aria-label=${words.search.filters}>
    <div class="switches" role="group" aria-label=${words.search.state}>
      ${STATES.map((state) => html`<button type="button" key=${state} class=${`switch state-${state}`}
        title=${words.stateHelp[state]} aria-pressed=${search.states.includes(state)} onClick=${() => toggle(state)}>
        ${words.states[state]}${counts && html`${" "}<span class=${counts[state] ? "of" : "of zero"}>${count(counts[state] ?? 0)}</span>`}</button>`)}
    </div>
    <div class="choices">
      <label class="hidden" for=${`${id}-workflow`}>${words.search.workflow}</label>
      <select id=${`${id}-workflow`} value=${search.workflow}
        onChange=${(/** @type {any} */ event) => show({ ...search, workflow: event.target.value })}>
        <option value="">${words.search.anyWorkflow}</option>
        ${search.workflow && !chosen && html`<option value=${search.workflow}>${search.workflow}</option>`}
        ${known.map((workflow) => html`<option key=${workflow.id} value=${workflow.id}>
          ${workflow.config.name || workflow.id}</option>`)}
      </select>
      <label class="hidden" for=${`${id}-since`}>${words.search.started}</label>
      <select id=${`${id}-since`} value=${search.since}
        onChange=${(/** @type {any} */ event) => show({ ...search, since: event.target.value })}>
        <option value="">${words.search.anyTime}</option>
        ${Object.keys(PERIODS).map((name) => html`<option key=${name} value=${name}>${words.search.times[name]}</option>`)}
      </select>
    </div>
    ${isFiltered(search) && html`<ul class="chips">
      ${search.q && html`<${Chip} key="q" text=${`“${search.q}”`} remove=${() => show({ ...search, q: "" })} />`}
      ${search.states.map((state) => html`<${Chip} key=${state} text=${words.states[state] ?? state} remove=${() => toggle(state)} />`)}
      ${search.workflow && html`<${Chip} key="workflow" text=${chosen?.config.name || search.workflow}
        remove=${() => show({ ...search, workflow: "" })} />`}
      ${search.since && html`<${Chip} key="since" text=${words.search.times[search.since]} remove=${() => show({ ...search, since: "" })} />`}
      <li><button type="button" class="quiet" onClick=${() => show({ q: "", states: [], workflow: "", since: "" })}>
        ${words.search.clear}</button></li>
    </ul>`}
  </div>`;
}

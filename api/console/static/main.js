/**
 * The entry: who looks, what page the address names, and what every page has around it.
 *
 * | folder | holds |
 * |---|---|
 * | `base` | addresses, formats, words, and what components are made of |
 * | `data` | the data layer: requests, data that stays fresh, operations, the session |
 * | `domain` | what instances, definitions and failures mean; no elements |
 * | `components` | one component a file |
 * | `pages` | one page a file |
 * | `lib` | preact and htm as they are published, with their licences |
 */
import { consoleAddress, placeOf } from "./base/addresses.js";
import { html, render, useEffect, useState } from "./base/ui.js";
import { words } from "./base/words.js";
import { Empty } from "./components/empty.js";
import { Guarded } from "./components/guarded.js";
import { Header } from "./components/header.js";
import { Notices } from "./components/notices.js";
import { PageTitle } from "./components/page-title.js";
import { SignIn } from "./components/sign-in.js";
import { TroubleLine } from "./components/trouble-line.js";
import { begin, isSignedOut, session } from "./data/session.js";
import { useStore } from "./data/store.js";
import { BulkPage } from "./pages/bulk.js";
import { BulksPage } from "./pages/bulks.js";
import { InstancePage } from "./pages/instance.js";
import { NewWorkflowPage } from "./pages/new-workflow.js";
import { OverviewPage } from "./pages/overview.js";
import { SearchPage } from "./pages/search.js";
import { TriggerPage } from "./pages/trigger.js";
import { TriggersPage } from "./pages/triggers.js";
import { WorkflowPage } from "./pages/workflow.js";
import { WorkflowsPage } from "./pages/workflows.js";

/** Pause before the configuration is asked for again. */
const RETRY_MS = 2000;

/**
 * @param {import("./base/addresses.js").Place} place
 * @returns {any}
 */
function pageOf({ path, query }) {
  const [name = "search", id] = path;
  switch (name) {
    case "search":
      return html`<${SearchPage} query=${query} />`;
    case "instances":
      return id ? html`<${InstancePage} key=${id} id=${id} />` : html`<${SearchPage} query=${query} />`;
    case "bulk":
      return id ? html`<${BulkPage} key=${id} id=${id} />` : html`<${BulksPage} query=${query} />`;
    case "overview":
      return html`<${OverviewPage} query=${query} />`;
    case "workflows":
      if (id === "new") return html`<${NewWorkflowPage} query=${query} />`;
      return id ? html`<${WorkflowPage} key=${id} id=${id} />` : html`<${WorkflowsPage} query=${query} />`;
    case "triggers":
      return id ? html`<${TriggerPage} key=${id} id=${id} query=${query} />` : html`<${TriggersPage} query=${query} />`;
    default:
      return html`<${PageTitle} text=${words.notFoundPage} /><${Empty} title="" help=${words.notFoundPageHelp} />`;
  }
}

function App() {
  useStore(session);
  const [place, setPlace] = useState(() => placeOf(location.hash));
  useEffect(() => {
    const moved = () => {
      setPlace(placeOf(location.hash));
      scrollTo(0, 0);
    };
    addEventListener("hashchange", moved);
    return () => removeEventListener("hashchange", moved);
  }, []);
  return html`
    <${Header} place=${place} />
    <${TroubleLine} />
    <main id="content" tabindex="-1">
      <${Guarded} key=${place.path.join("/")}>${isSignedOut() ? html`<${SignIn} />` : pageOf(place)}</${Guarded}>
    </main>
    <${Notices} />`;
}

async function start() {
  const place = /** @type {HTMLElement} */ (document.getElementById("app"));
  for (;;) {
    try {
      const answer = await fetch(new URL("config.json", consoleAddress), { cache: "no-store" });
      const { auth } = await answer.json();
      await begin(auth);
      break;
    } catch {
      place.textContent = `${words.trouble.unreachable}. ${words.trouble.retrying}`;
      await new Promise((resume) => setTimeout(resume, RETRY_MS));
    }
  }
  place.textContent = "";
  render(html`<${App} />`, place);
}

void start();

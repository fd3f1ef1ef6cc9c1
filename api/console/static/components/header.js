/** The top of every page: where one is, the search, and who one is. */
import { linkTo } from "../base/addresses.js";
import { html } from "../base/ui.js";
import { words } from "../base/words.js";
import { isSignedOut, mayWrite, person, session, signOut } from "../data/session.js";
import { useStore } from "../data/store.js";
import { SearchBox } from "./search-box.js";

/** @type {["search" | "overview" | "workflows" | "triggers", string[]][]} */
const PAGES = [
  ["search", ["", "search", "instances", "bulk"]],
  ["overview", ["overview"]],
  ["workflows", ["workflows"]],
  ["triggers", ["triggers"]],
];

/** @param {{place: import("../base/addresses.js").Place}} props */
export function Header({ place }) {
  const { auth } = useStore(session);
  const page = place.path[0] ?? "";
  if (isSignedOut()) return html`<header class="top"><span class="brand">${words.product}</span></header>`;
  const skip = (/** @type {Event} */ event) => {
    event.preventDefault(); // the fragment is the page's
    document.getElementById("content")?.focus();
  };
  return html`<header class="top">
    <a class="skip" href=${linkTo(place.path)} onClick=${skip}>${words.skip}</a>
    <a class="brand" href=${linkTo(["search"])}>${words.product}</a>
    <nav aria-label=${words.navigation}>
      ${PAGES.map(([name, paths]) => html`<a key=${name} href=${linkTo([name])}
        aria-current=${paths.includes(page) ? "page" : undefined}>${words.pages[name]}</a>`)}
    </nav>
    <${SearchBox} text=${page === "search" ? (place.query.get("q") ?? "") : ""} />
    <div class="who">
      ${!mayWrite() && html`<span class="badge read-only" title=${words.readOnlyWhy}>${words.readOnly}</span>`}
      ${auth && html`<span class="person" title=${person()}>${person()}</span>
        <button type="button" class="quiet" onClick=${signOut}>${words.signIn.out}</button>`}
    </div>
  </header>`;
}

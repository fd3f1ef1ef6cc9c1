/**
 * Addresses: of the API, of the console's pages, of things on pages.
 *
 * A gateway may put any prefix before everything, so the API is found from the page's own address: one folder above it.
 * Pages are told apart behind `#`, which no gateway sees.
 */

/** The folder of the console, with `/` at its end. */
export const consoleAddress = new URL(".", location.origin + location.pathname);

/** The folder of the API, with `/` at its end. */
export const apiAddress = new URL("..", consoleAddress);

/**
 * The link to a page.
 * @param {string[]} path such as `["instances", id]`
 * @param {Record<string, string | string[] | undefined>} [query] what is empty is left out
 * @returns {string}
 */
export function linkTo(path, query = {}) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one) parameters.append(name, one);
    }
  }
  const text = parameters.toString();
  return `#/${path.map(encodeURIComponent).join("/")}${text ? `?${text}` : ""}`;
}

/**
 * @typedef {{path: string[], query: URLSearchParams}} Place
 */

/**
 * The place that a fragment names.
 * @param {string} fragment such as `#/instances/1?raw=1`
 * @returns {Place}
 */
export function placeOf(fragment) {
  const [path = "", query = ""] = fragment.replace(/^#?\/?/, "").split("?", 2);
  return { path: path.split("/").filter(Boolean).map(decoded), query: new URLSearchParams(query) };
}

/** @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // half an escape, from a link that was cut
  }
}

/**
 * Go to a page.
 * @param {string} link of `linkTo`
 * @param {{replace?: boolean}} [options] whether Back should not come back here
 */
export function go(link, { replace = false } = {}) {
  if (!replace) {
    location.hash = link;
  } else if (location.hash !== link) {
    history.replaceState(null, "", link);
    dispatchEvent(new HashChangeEvent("hashchange"));
  }
}

/**
 * What somebody searches for, in the address of the page and as filters of the API.
 */

/**
 * @typedef {{q: string, states: string[], workflow: string, since: string}} Search `since` is the name of a period
 */

const HOUR_MS = 3_600_000;

/** Periods by name, with their length. @type {Record<string, number>} */
export const PERIODS = { "1h": HOUR_MS, "24h": 24 * HOUR_MS, "7d": 7 * 24 * HOUR_MS, "30d": 30 * 24 * HOUR_MS };

/** @param {URLSearchParams} query @returns {Search} */
export function filtersOf(query) {
  const since = query.get("since") ?? "";
  return {
    q: (query.get("q") ?? "").trim(),
    states: query.getAll("state"),
    workflow: query.get("workflow") ?? "",
    since: Object.hasOwn(PERIODS, since) ? since : "",
  };
}

/** @param {Search} search */
export function queryOf({ q, states, workflow, since }) {
  return { q, state: states, workflow, since };
}

/** @param {Search} search */
export function isFiltered({ q, states, workflow, since }) {
  return Boolean(q || states.length || workflow || since);
}

/**
 * Those filters of the API that say something, with their names.
 * @param {Record<string, any>} filter
 * @returns {[string, any][]}
 */
export function givenOf(filter) {
  return Object.entries(filter).filter(([, value]) => value !== undefined && value.length !== 0);
}

/**
 * The filters of the API, without the text.
 * @param {Search} search
 * @param {number} now milliseconds since 1970
 * @returns {Record<string, string | string[] | undefined>}
 */
export function apiFilters({ states, workflow, since }, now) {
  return {
    state: states.length ? states : undefined,
    workflowID: workflow || undefined,
    createdAfter: since ? new Date(now - PERIODS[since]).toISOString() : undefined,
  };
}

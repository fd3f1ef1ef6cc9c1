/**
 * Finding instances by one text: an instance's id, else a key (an order, a wallet, an account …), else a part of an error.
 */
import { apiFilters } from "../domain/filters.js";
import { ApiError } from "./http.js";
import { getInstance, listInstances, PAGE_SIZE } from "./resources.js";

/** How many pages are read for one: nobody waits longer than for some of them, and the next ones can be asked for. */
const MAX_READS = 8;

const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/**
 * @typedef {{instanceID?: string, page?: import("./resources.js").Page, by?: "key" | "error"}} Found `instanceID` when the
 *   text is one; else a page, and by what it was found
 */

/**
 * @param {import("../domain/filters.js").Search} search
 * @param {string} cursor of the page; `""` for the first
 * @param {AbortSignal} signal
 * @returns {Promise<Found>}
 */
export async function find(search, cursor, signal) {
  const filters = apiFilters(search, Date.now());
  if (cursor) {
    const [page, by] = await Promise.all([pageOf({ cursor }, signal), search.q ? foundBy(search.q, filters, signal) : undefined]);
    return { page, by };
  }
  if (!search.q) return { page: await pageOf(filters, signal) };
  if (ID.test(search.q) && (await exists(search.q, signal))) return { instanceID: search.q.toLowerCase() };
  const page = await pageOf({ ...filters, key: search.q }, signal);
  if (page.data.length) return { page, by: "key" };
  return { page: await pageOf({ ...filters, error: search.q }, signal), by: "error" };
}

/**
 * By what the first page of a search was found.
 * @param {string} q @param {Record<string, any>} filters @param {AbortSignal} signal
 * @returns {Promise<"key" | "error">}
 */
async function foundBy(q, filters, signal) {
  return (await listInstances({ ...filters, key: q, pageSize: 1 }, signal)).data.length ? "key" : "error";
}

/**
 * A page. One of something rare may end before it is full, or has anything; then the next ones are added to it.
 * @param {Record<string, any>} query
 * @param {AbortSignal} signal
 */
async function pageOf(query, signal) {
  const page = await listInstances(query, signal);
  for (let reads = 1; reads < MAX_READS && page.next && page.data.length < PAGE_SIZE; reads++) {
    const more = await listInstances({ cursor: page.next }, signal);
    page.data.push(...more.data);
    page.next = more.next;
  }
  return page;
}

/** @param {string} id @param {AbortSignal} signal */
async function exists(id, signal) {
  try {
    await getInstance(id, signal);
    return true;
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return false;
    throw error;
  }
}

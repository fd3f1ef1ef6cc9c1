/**
 * The operations of the API that the console uses, one function each. Shapes are those of `/openapi.json`.
 */
import { call } from "./http.js";

/** Rows of a page: what fits on a screen or two. */
export const PAGE_SIZE = 25;

/**
 * @typedef {Record<string, any>} Json
 * @typedef {{data: Json[], next?: string, previous?: string, hasMore: boolean}} Page
 * @typedef {{reason?: string, key?: string}} Act why a person does something, and the key of the request
 * @typedef {Record<string, string | string[] | number | undefined>} Filters
 */

/** @param {string} id */
export const instancePath = (id) => `v2/instances/${encodeURIComponent(id)}`;

/**
 * @param {string} path
 * @param {Record<string, any>} query
 * @param {AbortSignal} [signal]
 * @returns {Promise<Page>}
 */
async function page(path, query, signal) {
  const { cursor, ...filters } = query;
  return (await call(path, { query: cursor ? { cursor } : { pageSize: PAGE_SIZE, ...filters }, signal })).cursor;
}

/** @param {Filters} query @param {AbortSignal} [signal] */
export const listInstances = (query, signal) => page("v2/instances", query, signal);

/** @param {string} id @param {AbortSignal} [signal] @returns {Promise<Json>} */
export const getInstance = async (id, signal) => (await call(instancePath(id), { signal })).data;

/** @param {string} id @param {AbortSignal} [signal] @returns {Promise<Json[]>} */
export const getHistory = async (id, signal) => (await call(`${instancePath(id)}/history`, { signal })).data;

/** @param {string} id @param {number} stage @param {AbortSignal} [signal] @returns {Promise<Json[]>} */
export const getActivities = async (id, stage, signal) =>
  (await call(`${instancePath(id)}/stages/${stage}/history`, { signal })).data;

/** @param {string} id @param {string} cursor @param {AbortSignal} [signal] @returns {Promise<Json>} */
export const getLog = async (id, cursor, signal) =>
  (await call(`${instancePath(id)}/log`, { query: { cursor }, signal })).data;

/** @param {string} id @param {string} name @param {Act} act */
export const sendEvent = (id, name, act) =>
  call(`${instancePath(id)}/events`, { method: "POST", body: JSON.stringify({ name }), ...act });

/** @param {string} id @param {Act} act */
export const abortInstance = (id, act) => call(`${instancePath(id)}/abort`, { method: "PUT", ...act });

/** @param {string} id @param {Act} act */
export const retryInstance = (id, act) => call(`${instancePath(id)}/retry`, { method: "POST", ...act });

/**
 * @param {string} id
 * @param {{stage: number, activityID: string, temporalRunID: string, pausedAt: string}} pause
 * @param {Act} act
 */
export const resumeActivity = (id, { stage, activityID, temporalRunID, pausedAt }, act) =>
  call(`${instancePath(id)}/stages/${stage}/activities/${encodeURIComponent(activityID)}/resume`, {
    method: "POST", body: JSON.stringify({ temporalRunID, pausedAt }), ...act,
  });

/** @param {{cursor?: string, pageSize?: any}} query @param {AbortSignal} [signal] */
export const listWorkflows = (query, signal) => page("v2/workflows", query, signal);

/** @param {string} id @param {AbortSignal} [signal] @returns {Promise<Json>} */
export const getWorkflow = async (id, signal) =>
  (await call(`v2/workflows/${encodeURIComponent(id)}`, { signal })).data;

/** @param {string} yaml @param {Act} act @returns {Promise<Json>} */
export const createWorkflow = async (yaml, act) =>
  (await call("v2/workflows", { method: "POST", body: yaml, type: "application/yaml", ...act })).data;

/** @param {string} id @param {Act} act */
export const deleteWorkflow = (id, act) =>
  call(`v2/workflows/${encodeURIComponent(id)}`, { method: "DELETE", ...act });

/** @param {string} text @param {"application/yaml" | "application/json"} type @param {AbortSignal} [signal] */
export const validate = async (text, type, signal) =>
  (await call("v2/workflows/validate", { method: "POST", body: text, type, signal })).data;

/** @param {string} id @param {Record<string, string>} variables @param {Act} act @returns {Promise<Json>} */
export const runWorkflow = async (id, variables, act) =>
  (await call(`v2/workflows/${encodeURIComponent(id)}/instances`, {
    method: "POST", body: JSON.stringify(variables), ...act,
  })).data;

/** @param {{cursor?: string, name?: string, pageSize?: any}} query @param {AbortSignal} [signal] */
export const listTriggers = (query, signal) => page("v2/triggers", query, signal);

/** @param {string} id @param {AbortSignal} [signal] @returns {Promise<Json>} */
export const getTrigger = async (id, signal) => (await call(`v2/triggers/${encodeURIComponent(id)}`, { signal })).data;

/** @param {string} id @param {{cursor?: string}} query @param {AbortSignal} [signal] */
export const listOccurrences = (id, query, signal) =>
  page(`v2/triggers/${encodeURIComponent(id)}/occurrences`, query, signal);

/** @param {string} id @param {string} message JSON @returns {Promise<Json>} */
export const testTrigger = async (id, message) =>
  (await call(`v2/triggers/${encodeURIComponent(id)}/test`, { method: "POST", body: message })).data;

/** @param {{workflowID?: string, from: string, step: string}} query @param {AbortSignal} [signal] @returns {Promise<Json>} */
export const getStats = async (query, signal) => (await call("v2/stats", { query, signal })).data;

/** @param {Json} body @returns {Promise<Json>} */
export const previewBulk = async (body) =>
  (await call("v2/instances/bulk", { method: "POST", body: JSON.stringify({ ...body, dryRun: true }) })).data;

/** @param {Json} body @param {Act} act @returns {Promise<Json>} */
export const startBulk = async (body, act) =>
  (await call("v2/instances/bulk", { method: "POST", body: JSON.stringify(body), ...act })).data;

/** @param {{cursor?: string}} query @param {AbortSignal} [signal] */
export const listBulks = (query, signal) => page("v2/bulk", query, signal);

/** @param {string} id @param {AbortSignal} [signal] @returns {Promise<Json>} */
export const getBulk = async (id, signal) => (await call(`v2/bulk/${encodeURIComponent(id)}`, { signal })).data;

/** @param {string} id @param {Act} act */
export const stopBulk = (id, act) => call(`v2/bulk/${encodeURIComponent(id)}/stop`, { method: "POST", ...act });

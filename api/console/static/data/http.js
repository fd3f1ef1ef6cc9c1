/**
 * Requests to the API: one way in, one kind of error, every wait with an end.
 */
import { apiAddress } from "../base/addresses.js";
import { words } from "../base/words.js";
import { parseExactly } from "./json.js";
import * as session from "./session.js";

/** How long a request may take. Above the API's own deadline of a write, whose answer says what happened. */
const TIMEOUT_MS = 20_000;

/** What went wrong with a request. `message` is for people. */
export class ApiError extends Error {
  /**
   * @param {string} message
   * @param {number} status of the answer; 0 when there was none
   * @param {string} [code] the answer's errorCode
   */
  constructor(message, status, code = "") {
    super(message);
    this.status = status;
    this.code = code;
  }

  /** Whether the same request may succeed later. */
  get passes() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

/**
 * @typedef {{
 *   method?: string,
 *   query?: Record<string, string | string[] | number | boolean | undefined>,
 *   body?: string,
 *   type?: string,
 *   reason?: string,
 *   key?: string,
 *   signal?: AbortSignal,
 *   accept?: string,
 *   headers?: Record<string, string>,
 * }} Options `body` is sent as it is; `reason` is why a person does this; `key` makes a repetition harmless
 */

/**
 * The answer's body; null if there is none.
 * @param {string} path below the API, such as `v2/instances`
 * @param {Options} [options]
 * @returns {Promise<any>}
 */
export async function call(path, options = {}) {
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  const signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout;
  const answer = await send(path, { ...options, signal });
  try {
    const text = await answer.text();
    return text ? parseExactly(text) : null;
  } catch (error) {
    throw unreachable(error, options.signal);
  }
}

/**
 * The answer, as soon as it has begun; a refused token is renewed once.
 * @param {string} path
 * @param {Options} options
 * @returns {Promise<Response>}
 */
export async function send(path, options) {
  let answer = await sent(path, options);
  if (answer.status === 401 && (await session.renewed())) {
    answer = await sent(path, options);
  }
  if (answer.status === 401) session.refused();
  if (!answer.ok) throw await failure(answer);
  return answer;
}

/** @param {string} path @param {Options} options */
async function sent(path, { method = "GET", query, body, type, reason, key, signal, accept, headers: more }) {
  const address = new URL(path, apiAddress);
  for (const [name, value] of Object.entries(query ?? {})) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined && one !== "" && one !== false) address.searchParams.append(name, String(one));
    }
  }
  /** @type {Record<string, string>} */
  const headers = { accept: accept ?? "application/json", ...more };
  const token = session.token();
  if (token) headers.authorization = `Bearer ${token}`;
  // A browser's page has to name the type also where there is no body.
  if (method !== "GET") headers["content-type"] = type ?? "application/json";
  if (reason) headers["x-reason"] = encodeURIComponent(reason);
  if (key) headers["idempotency-key"] = key;
  try {
    return await fetch(address, {
      method, headers, body, signal, credentials: "same-origin", cache: "no-store", redirect: "error",
    });
  } catch (error) {
    throw unreachable(error, signal);
  }
}

/** @param {unknown} error @param {AbortSignal} [signal] */
function unreachable(error, signal) {
  if (signal?.aborted && signal.reason?.name !== "TimeoutError") return error;
  return new ApiError(words.trouble.unreachable, 0);
}

/** @param {Response} answer */
async function failure(answer) {
  let message = "";
  let code = "";
  try {
    ({ errorMessage: message = "", errorCode: code = "" } = await answer.json());
  } catch {
    // A gateway's own answer, which is not in our shape.
  }
  return new ApiError(message || words.trouble.status(answer.status), answer.status, code);
}

/** A key by which the API knows a repetition of a request. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

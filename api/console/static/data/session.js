/**
 * Who looks at the console: the token of this tab, how it is got, and what it allows.
 *
 * With a client id, people sign in at the issuer by the code flow with PKCE (RFC 7636); else they paste a token. The token
 * is kept in `sessionStorage`: it survives a reload, and ends with the tab.
 */
import { consoleAddress } from "../base/addresses.js";
import { words } from "../base/words.js";
import { Store } from "./store.js";

const TOKENS = "orchestration.tokens";
const PENDING = "orchestration.sign-in";
const WRITE = "orchestration:write";

/** How long the issuer may take to answer. */
const TIMEOUT_MS = 15_000;

/**
 * @typedef {{issuer: string, audience: string | null, checkScopes: boolean, clientID: string | null, scopes: string,
 *   authorizationEndpoint: string | null, tokenEndpoint: string | null}} Auth
 * @typedef {{access: string, refresh?: string, id?: string}} Tokens
 * @typedef {{auth: Auth | null, tokens: Tokens | null, problem: string}} Session
 */

/** @type {Store<Session>} */
export const session = new Store({ auth: null, tokens: null, problem: "" });

/** @param {Partial<Session>} changes */
function change(changes) {
  session.set({ ...session.value, ...changes });
}

/**
 * Begin: with the token of before, or with the code that the issuer has just sent along.
 * @param {Auth | null} auth null when the API asks for no token
 */
export async function begin(auth) {
  change({ auth, tokens: auth ? kept(TOKENS) : null });
  const given = new URLSearchParams(location.search);
  if (!given.has("state")) return;
  const pending = kept(PENDING);
  sessionStorage.removeItem(PENDING);
  // The code must not stay in the address, where it would be shared with the link.
  history.replaceState(null, "", `${location.pathname}${pending?.place ?? location.hash}`);
  if (!auth || !pending || given.get("state") !== pending.state) {
    change({ problem: words.signIn.stale });
  } else if (given.has("error")) {
    change({ problem: words.signIn.refused(given.get("error_description") || given.get("error") || "") });
  } else {
    await exchanged({
      grant_type: "authorization_code",
      code: given.get("code") ?? "",
      redirect_uri: consoleAddress.href,
      code_verifier: pending.verifier,
    });
  }
}

/** Whether somebody has to sign in before anything is shown. */
export function isSignedOut() {
  return session.value.auth !== null && session.value.tokens === null;
}

/** Whether people can sign in at the issuer, and why not. @returns {string} `""` if they can */
export function obstacle() {
  const { auth } = session.value;
  if (!auth?.clientID) return words.signIn.noClient;
  if (!auth.authorizationEndpoint || !auth.tokenEndpoint) return words.signIn.issuerAway;
  // Browsers give pages the hash function that PKCE needs only over HTTPS, and on the machine itself.
  return crypto.subtle ? "" : words.signIn.insecure;
}

/** Leave for the issuer's page, which sends the browser back here. */
export async function signIn() {
  const { auth } = session.value;
  if (!auth?.authorizationEndpoint || !auth.clientID) return;
  const verifier = randomText();
  const state = randomText();
  keep(PENDING, { verifier, state, place: location.hash });
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
  const address = new URL(auth.authorizationEndpoint);
  const parameters = {
    response_type: "code",
    client_id: auth.clientID,
    redirect_uri: consoleAddress.href,
    scope: auth.scopes,
    state,
    code_challenge: base64url(new Uint8Array(digest)),
    code_challenge_method: "S256",
    ...(auth.audience ? { audience: auth.audience } : {}),
  };
  for (const [name, value] of Object.entries(parameters)) address.searchParams.set(name, value);
  location.assign(address);
}

/** @param {string} text a token that somebody has pasted */
export function paste(text) {
  const access = text.trim().replace(/^bearer\s+/i, "");
  if (!/^[\w-]+\.[\w-]+\.[\w-]+$/.test(access)) return change({ problem: words.signIn.notAToken });
  take({ access });
}

/** Forget the token. */
export function signOut() {
  sessionStorage.removeItem(TOKENS);
  change({ tokens: null, problem: "" });
}

/** The token to send; null without one. */
export function token() {
  return session.value.tokens?.access ?? null;
}

/** @type {Promise<boolean> | null} */
let renewing = null;

/** Get a new token with the refresh token, if the issuer gave one; all requests share one try. @returns {Promise<boolean>} */
export function renewed() {
  const refresh = session.value.tokens?.refresh;
  if (!refresh) return Promise.resolve(false);
  renewing ??= exchanged({ grant_type: "refresh_token", refresh_token: refresh }).finally(() => (renewing = null));
  return renewing;
}

/** The API has refused the token. */
export function refused() {
  if (!session.value.tokens) return;
  sessionStorage.removeItem(TOKENS);
  change({ tokens: null, problem: words.signIn.ended });
}

/** Whether the token allows to change something; the API has the last word. */
export function mayWrite() {
  const { auth, tokens } = session.value;
  if (!auth?.checkScopes) return true;
  const claims = claimsOf(tokens?.access ?? "");
  return [claims.scope, claims.scp].flatMap((value) => (typeof value === "string" ? value.split(" ") : value ?? []))
    .includes(WRITE);
}

/** Who has signed in, as far as the token says it. */
export function person() {
  const { access = "", id = "" } = session.value.tokens ?? {};
  const claims = { ...claimsOf(access), ...claimsOf(id) };
  return String(claims.email ?? claims.name ?? claims.preferred_username ?? claims.sub ?? "");
}

/** @param {string} jwt @returns {Record<string, any>} */
function claimsOf(jwt) {
  try {
    const bytes = atob(jwt.split(".")[1].replace(/-/g, "+").replace(/_/g, "/"));
    const claims = JSON.parse(new TextDecoder().decode(Uint8Array.from(bytes, (char) => char.charCodeAt(0))));
    return typeof claims === "object" && claims ? claims : {};
  } catch {
    return {}; // not a JWT; the API will say so
  }
}

/** @param {Record<string, string>} form @returns {Promise<boolean>} */
async function exchanged(form) {
  const { auth } = session.value;
  try {
    const answer = await fetch(auth?.tokenEndpoint ?? "", {
      method: "POST",
      headers: { accept: "application/json", "content-type": "application/x-www-form-urlencoded" },
      body: new URLSearchParams({ ...form, client_id: auth?.clientID ?? "" }),
      credentials: "omit",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const given = await answer.json();
    // Whoever has signed out meanwhile stays signed out, and another person who has signed in is not replaced.
    if (form.refresh_token && form.refresh_token !== session.value.tokens?.refresh) return false;
    if (!answer.ok || typeof given.access_token !== "string") {
      change({ problem: words.signIn.refused(String(given.error_description ?? given.error ?? answer.status)) });
      return false;
    }
    take({ access: given.access_token, refresh: given.refresh_token ?? form.refresh_token, id: given.id_token });
    return true;
  } catch {
    change({ problem: words.signIn.issuerAway });
    return false;
  }
}

/** @param {Tokens} tokens */
function take(tokens) {
  keep(TOKENS, tokens);
  change({ tokens, problem: "" });
}

/** @param {string} name @returns {any} */
function kept(name) {
  try {
    return JSON.parse(sessionStorage.getItem(name) ?? "null");
  } catch {
    return null;
  }
}

/** @param {string} name @param {unknown} value */
function keep(name, value) {
  try {
    sessionStorage.setItem(name, JSON.stringify(value));
  } catch {
    // Without storage the token lasts until the next reload.
  }
}

function randomText() {
  return base64url(crypto.getRandomValues(new Uint8Array(32)));
}

/** @param {Uint8Array} bytes */
function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

/**
 * Streams of the API (server-sent events), read with `fetch`: the browser's own `EventSource` can send no token.
 *
 * A stream is followed while somebody looks: a browser has few connections to one server, and hidden tabs would hold them
 * all. It comes back by itself, with `Last-Event-ID`. Where there are no streams (an older API, a gateway in between that
 * holds answers back), pages go on asking.
 */
import { ApiError, send } from "./http.js";

/** How long a stream may be silent: longer than its heartbeats are apart. */
const SILENT_MS = 40_000;

/** Pauses before it is opened again: what the server asks for, and after failures from the first up to the second. */
const FIRST_PAUSE_MS = 1000;
const MAX_PAUSE_MS = 30_000;

/** Statuses of an API or gateway that has no such stream. */
const NO_STREAM = [404, 405, 406, 501];

/**
 * Follow a stream until the signal.
 * @param {string} path
 * @param {Record<string, any>} query
 * @param {{message: (event: string) => void, connected: (is: boolean) => void}} listener
 * @param {AbortSignal} signal
 */
export async function follow(path, query, { message, connected }, signal) {
  let lastID = "";
  let failures = 0;
  let pause = FIRST_PAUSE_MS;
  while (!signal.aborted) {
    await visible(signal);
    if (signal.aborted) return;
    const ending = new AbortController();
    const hidden = () => document.hidden && ending.abort();
    let silence = setTimeout(() => ending.abort(), SILENT_MS);
    document.addEventListener("visibilitychange", hidden);
    try {
      const answer = await send(path, {
        query, accept: "text/event-stream", headers: lastID ? { "last-event-id": lastID } : {},
        signal: AbortSignal.any([signal, ending.signal]),
      });
      if (answer.status === 204) return; // it has been told of the end
      for await (const { event, id, retry } of messagesOf(answer)) {
        clearTimeout(silence);
        silence = setTimeout(() => ending.abort(), SILENT_MS);
        failures = 0;
        if (id) lastID = id;
        if (retry) pause = retry;
        connected(event !== "unavailable");
        message(event);
      }
    } catch (error) {
      if (error instanceof ApiError && NO_STREAM.includes(error.status)) return;
      failures += 1;
    } finally {
      clearTimeout(silence);
      document.removeEventListener("visibilitychange", hidden);
      if (!signal.aborted) connected(false);
    }
    await passed(Math.min(pause * 2 ** Math.max(0, failures - 1), MAX_PAUSE_MS), signal);
  }
}

/**
 * The messages of an answer, without their data: who wants to know reads the whole state.
 * @param {Response} answer
 * @returns {AsyncGenerator<{event: string, id: string, retry: number}>}
 */
async function* messagesOf(answer) {
  if (!answer.body) return;
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let message = { event: "", id: "", retry: 0 };
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + value).split(/\r\n|\n|\r/);
      rest = lines.pop() ?? "";
      for (const line of lines) {
        const [, field = "", text = ""] = /^([^:]*):? ?(.*)$/.exec(line) ?? [];
        if (field === "event") message.event = text;
        else if (field === "id") message.id = text;
        else if (field === "retry") message.retry = Number(text) || 0;
        else if (line === "" && message.event) {
          yield message;
          message = { event: "", id: "", retry: 0 };
        }
      }
    }
  } finally {
    reader.cancel().catch(() => {}); // the connection may be gone already
  }
}

/** @param {AbortSignal} signal @returns {Promise<void>} */
function visible(signal) {
  return new Promise((resolve) => {
    const look = () => {
      if (document.hidden && !signal.aborted) return;
      document.removeEventListener("visibilitychange", look);
      signal.removeEventListener("abort", look);
      resolve();
    };
    document.addEventListener("visibilitychange", look);
    signal.addEventListener("abort", look);
    look();
  });
}

/** @param {number} pause @param {AbortSignal} signal @returns {Promise<void>} */
function passed(pause, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, pause);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}

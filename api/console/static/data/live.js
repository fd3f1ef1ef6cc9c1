/**
 * Data that stays fresh while somebody looks at it.
 *
 * `useLive` reads again when a stream of the API says that something has changed, and now and then; without a stream it
 * reads again and again, more slowly while nothing changes. It keeps what it has when a read fails: a page says then of
 * when it is. What fails is in `troubles`, for the line at the top of every page.
 */
import { useCallback, useEffect, useRef, useState } from "../base/ui.js";
import { ApiError } from "./http.js";
import { Store } from "./store.js";
import { follow } from "./stream.js";

/** Pauses between reads after a failure: from the first, doubled up to the second. */
const FIRST_PAUSE_MS = 1000;
const MAX_PAUSE_MS = 15_000;

/** How much longer than asked a reader pauses in the end while nothing changes. */
const MAX_CALM = 5;

/** Pause while a stream tells what changes: only in case that it misses something. */
const STREAMED_PAUSE_MS = 20_000;

/** How soon after a read the next may be: many things may change at once. */
const MIN_PAUSE_MS = 300;

/** Messages of a stream that tell of no change. */
const NO_CHANGE = ["heartbeat", "open", "unavailable", "expired"];

/**
 * What can't be read at the moment, by reader.
 * @type {Store<Map<symbol, {error: Error, since: number, retryAt: number, retry: () => void}>>}
 */
export const troubles = new Store(new Map());

/** @param {symbol} reader @param {{error: Error, since: number, retryAt: number, retry: () => void} | null} trouble */
function report(reader, trouble) {
  if (!trouble && !troubles.value.has(reader)) return;
  const next = new Map(troubles.value);
  if (trouble) next.set(reader, trouble);
  else next.delete(reader);
  troubles.set(next);
}

/**
 * @template T
 * @typedef {{data: T | undefined, error: Error | null, readAt: number, refresh: () => void}} Live
 *   `error` of the last read; `data` is then of before
 */

/**
 * @template T
 * @param {((signal: AbortSignal) => Promise<T>) | null} read null while there is nothing to read
 * @param {unknown[]} inputs when one of them changes, what was read before is dropped
 * @param {{every?: number, stream?: {path: string, query?: Record<string, any>} | null}} [options] milliseconds between reads,
 *   none without; and the stream that tells of changes
 * @returns {Live<T>}
 */
export function useLive(read, inputs, { every = 0, stream = null } = {}) {
  const [state, setState] = useState(/** @type {Omit<Live<T>, "refresh">} */ ({ data: undefined, error: null, readAt: 0 }));
  const reader = useRef({ read, refresh: () => {} });
  reader.current.read = read;

  useEffect(() => {
    const id = Symbol("reader");
    const ending = new AbortController();
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    let failures = 0;
    let since = 0;
    let calm = 1;
    let reading = false;
    let again = false;
    let streamed = false;
    let text = "";
    let lastAt = 0;

    /** @param {number} pause */
    const later = (pause) => {
      clearTimeout(timer);
      timer = setTimeout(look, pause);
    };

    async function look() {
      const { read } = reader.current;
      if (!read || ending.signal.aborted) return;
      if (document.hidden && text) return; // it goes on when somebody looks again
      clearTimeout(timer);
      if (reading) {
        again = true;
        return;
      }
      reading = true;
      again = false;
      try {
        const data = await read(ending.signal);
        if (ending.signal.aborted) return;
        const now = written(data);
        calm = now === text ? Math.min(calm * 1.3, MAX_CALM) : 1;
        text = now;
        failures = 0;
        since = 0;
        report(id, null);
        lastAt = Date.now();
        setState({ data, error: null, readAt: lastAt });
        if (again) later(MIN_PAUSE_MS);
        else if (every) later(streamed ? Math.max(STREAMED_PAUSE_MS, every) : every * calm);
      } catch (error) {
        if (ending.signal.aborted) return;
        const passes = error instanceof ApiError && error.passes;
        setState((before) => ({ ...before, error: /** @type {Error} */ (error) }));
        if (passes) {
          since ||= lastAt || Date.now();
          const pause = Math.min(FIRST_PAUSE_MS * 2 ** failures++, MAX_PAUSE_MS);
          later(pause);
          report(id, { error: /** @type {Error} */ (error), since, retryAt: Date.now() + pause, retry: refresh });
        } else {
          report(id, null);
          if (!(error instanceof ApiError)) throw error;
        }
      } finally {
        reading = false;
      }
    }

    function refresh() {
      calm = 1;
      void look();
    }

    if (stream && every) {
      void follow(stream.path, stream.query ?? {}, {
        message(event) {
          if (!NO_CHANGE.includes(event)) later(Math.max(0, MIN_PAUSE_MS - (Date.now() - lastAt)));
        },
        connected(is) {
          if (is !== streamed) {
            streamed = is;
            if (!is) later(every);
          }
        },
      }, ending.signal);
    }

    const seen = () => {
      if (!document.hidden) refresh();
    };
    reader.current.refresh = refresh;
    setState({ data: undefined, error: null, readAt: 0 });
    document.addEventListener("visibilitychange", seen);
    addEventListener("online", seen);
    void look();
    return () => {
      ending.abort();
      clearTimeout(timer);
      report(id, null);
      document.removeEventListener("visibilitychange", seen);
      removeEventListener("online", seen);
    };
  }, [...inputs, every, read === null]);

  const refresh = useCallback(() => reader.current.refresh(), []);
  return { ...state, refresh };
}

/** @param {unknown} data */
function written(data) {
  return JSON.stringify(data, (_, value) => (typeof value === "bigint" ? `${value}n` : value)) ?? "";
}

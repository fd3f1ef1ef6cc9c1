/** The checks of a definition while somebody types it. */
import { useEffect, useState } from "../base/ui.js";
import { ApiError } from "./http.js";
import { validate } from "./resources.js";

/** Pause after the last key before it is checked. */
const PAUSE_MS = 200;

/** Pause before it is tried again while the server can't be reached. */
const AGAIN_MS = 2000;

/**
 * @typedef {{validation: import("./resources.js").Json | null, checking: boolean, error: Error | null}} Checked
 *   `validation` of the text of before while `checking`
 */

/** @param {string} text @returns {Checked} */
export function useValidation(text) {
  const [checked, setChecked] = useState(/** @type {Checked} */ ({ validation: null, checking: true, error: null }));
  useEffect(() => {
    const ending = new AbortController();
    setChecked((before) => ({ ...before, checking: true }));
    /** @type {ReturnType<typeof setTimeout>} */
    let timer;
    const check = async () => {
      try {
        // An empty body is refused as missing; a comment is an empty definition.
        const validation = await validate(text.trim() ? text : "#", "application/yaml", ending.signal);
        if (!ending.signal.aborted) setChecked({ validation, checking: false, error: null });
      } catch (error) {
        if (ending.signal.aborted) return;
        setChecked({ validation: null, checking: false, error: /** @type {Error} */ (error) });
        if (error instanceof ApiError && error.passes) timer = setTimeout(check, AGAIN_MS);
      }
    };
    timer = setTimeout(check, PAUSE_MS);
    return () => {
      ending.abort();
      clearTimeout(timer);
    };
  }, [text]);
  return checked;
}

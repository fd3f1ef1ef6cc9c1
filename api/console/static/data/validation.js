/** The checks of a definition while somebody types it. */
import { useEffect, useState } from "../base/ui.js";
import { validate } from "./resources.js";

/** Pause after the last key before it is checked. */
const PAUSE_MS = 200;

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
    const timer = setTimeout(async () => {
      try {
        // An empty body is refused as missing; a comment is an empty definition.
        const validation = await validate(text.trim() ? text : "#", "application/yaml", ending.signal);
        if (!ending.signal.aborted) setChecked({ validation, checking: false, error: null });
      } catch (error) {
        if (!ending.signal.aborted) setChecked({ validation: null, checking: false, error: /** @type {Error} */ (error) });
      }
    }, PAUSE_MS);
    return () => {
      ending.abort();
      clearTimeout(timer);
    };
  }, [text]);
  return checked;
}

/** The one box to find a payment, on every page. `/` goes to it. */
import { go, linkTo } from "../base/addresses.js";
import { html, useEffect, useRef, useState } from "../base/ui.js";
import { words } from "../base/words.js";

/** @param {{text: string}} props what was looked for last */
export function SearchBox({ text }) {
  const [typed, setTyped] = useState(text);
  const box = useRef(/** @type {HTMLInputElement | null} */ (null));
  useEffect(() => setTyped(text), [text]);
  useEffect(() => {
    const pressed = (/** @type {KeyboardEvent} */ event) => {
      const at = /** @type {HTMLElement} */ (event.target);
      const writes = at.closest("input, textarea, select, [contenteditable], dialog");
      if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || writes) return;
      event.preventDefault();
      box.current?.select();
    };
    document.addEventListener("keydown", pressed);
    return () => document.removeEventListener("keydown", pressed);
  }, []);
  const find = (/** @type {Event} */ event) => {
    event.preventDefault();
    go(linkTo(["search"], { q: typed.trim() }));
  };
  return html`<form class="search-box" role="search" onSubmit=${find}>
    <input ref=${box} type="search" aria-label=${words.search.label} placeholder=${words.search.placeholder}
      title=${words.search.shortcut} value=${typed} maxlength="500" autocomplete="off" spellcheck=${false} enterkeyhint="search"
      onInput=${(/** @type {any} */ event) => setTyped(event.target.value)} />
    <button type="submit">${words.search.go}</button>
  </form>`;
}

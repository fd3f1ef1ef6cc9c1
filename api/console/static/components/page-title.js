/** The title of a page, in the page and in the tab. It gets the focus when a page is opened, so that it is read out. */
import { html, useEffect, useRef } from "../base/ui.js";
import { words } from "../base/words.js";

/** @param {{text: string, children?: any}} props */
export function PageTitle({ text, children }) {
  const title = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => {
    document.title = `${text} · ${words.product}`;
  }, [text]);
  useEffect(() => {
    if (!document.activeElement || document.activeElement === document.body) title.current?.focus({ preventScroll: true });
  }, []);
  return html`<h1 tabindex="-1" ref=${title}>${children ?? text}</h1>`;
}

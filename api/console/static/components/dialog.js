/** A modal dialog: the browser keeps the focus in it. It goes back to where it was. */
import { html, useEffect, useId, useRef } from "../base/ui.js";
import { words } from "../base/words.js";

/** @param {{title: string, close: () => void, children: any}} props */
export function Dialog({ title, close, children }) {
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  const id = useId();
  useEffect(() => {
    const shown = dialog.current;
    const opener = /** @type {HTMLElement | null} */ (document.activeElement);
    shown?.showModal();
    return () => {
      shown?.close();
      opener?.focus();
    };
  }, []);
  const clicked = (/** @type {MouseEvent} */ event) => {
    if (event.target === dialog.current) close(); // beside it
  };
  return html`<dialog ref=${dialog} aria-labelledby=${id} onCancel=${(/** @type {Event} */ event) => {
    event.preventDefault();
    close();
  }} onMouseDown=${clicked}>
    <div class="dialog-body">
      <header><h2 id=${id}>${title}</h2>
        <button type="button" class="quiet" aria-label=${words.close} onClick=${close}>✕</button></header>
      ${children}
    </div>
  </dialog>`;
}

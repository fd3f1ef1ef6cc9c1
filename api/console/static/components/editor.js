/**
 * A text field for a definition, with numbers of lines and marks where something is wrong. It stays a text field: Tab
 * leaves it, and every screen reader knows it.
 */
import { html, useEffect, useId, useRef } from "../base/ui.js";
import { words } from "../base/words.js";

/**
 * @param {{text: string, change: (text: string) => void, findings: import("../data/resources.js").Json[],
 *   handle: {current: {jump: (line: number, column: number) => void} | null}}} props `handle` gets what moves the cursor
 */
export function Editor({ text, change, findings, handle }) {
  const id = useId();
  const area = useRef(/** @type {HTMLTextAreaElement | null} */ (null));
  const gutter = useRef(/** @type {HTMLElement | null} */ (null));
  const lines = text.split("\n");
  const worst = new Map();
  for (const { line, severity } of findings) {
    if (line && worst.get(line) !== "error") worst.set(line, severity);
  }
  useEffect(() => {
    handle.current = {
      jump(line, column) {
        const at = lines.slice(0, line - 1).reduce((sum, one) => sum + one.length + 1, 0) + column - 1;
        area.current?.focus();
        area.current?.setSelectionRange(at, at);
      },
    };
  }, [text]);
  const scrolled = () => {
    if (gutter.current && area.current) gutter.current.scrollTop = area.current.scrollTop;
  };
  // Enter keeps the indentation of its line.
  const pressed = (/** @type {KeyboardEvent} */ event) => {
    const field = area.current;
    if (event.key !== "Enter" || event.isComposing || event.ctrlKey || event.metaKey || !field) return;
    event.preventDefault();
    const before = field.value.slice(0, field.selectionStart);
    const [indent = ""] = /^[ ]*(?:- )?/.exec(before.slice(before.lastIndexOf("\n") + 1)) ?? [];
    field.setRangeText(`\n${indent.replace("-", " ")}`, field.selectionStart, field.selectionEnd, "end");
    change(field.value);
  };
  return html`<div class="field editor">
    <label for=${id}>${words.editor.label}</label>
    <div class="editor-box">
      <div class="gutter" ref=${gutter} aria-hidden="true">
        ${lines.map((_, index) => html`<span key=${index} class=${worst.get(index + 1) ?? ""}>${index + 1}</span>`)}
      </div>
      <textarea id=${id} ref=${area} value=${text} wrap="off" spellcheck=${false} autocapitalize="off" autocomplete="off"
        rows=${Math.min(Math.max(lines.length + 1, 16), 32)} aria-describedby=${`${id}-help`} onScroll=${scrolled} onKeyDown=${pressed}
        onInput=${(/** @type {any} */ event) => change(event.target.value)}></textarea>
    </div>
    <p class="sub" id=${`${id}-help`}>${words.editor.help}</p>
  </div>`;
}

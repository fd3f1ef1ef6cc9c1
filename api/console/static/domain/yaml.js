/**
 * A definition as YAML, as people write it. It only writes what JSON can hold.
 */

/** Texts that a reader could take for something else, or that YAML gives a meaning. */
const AMBIGUOUS = /^$|^[\s\-?:,[\]{}#&*!|>'"%@`]|: |:$| #|[\n\t]|\s$|^(true|false|null|yes|no|on|off|y|n|~)$|^[+-]?[\d.][\d_.,:a-foxtz+-]*$/i;

/**
 * @param {unknown} value
 * @returns {string}
 */
export function yaml(value) {
  const text = block(value, "");
  return text.startsWith("\n") ? text.slice(1) : text.trimStart();
}

/**
 * A value behind a key: on the same line, or indented on the next ones.
 * @param {unknown} value
 * @param {string} indent
 * @returns {string}
 */
function block(value, indent) {
  if (Array.isArray(value)) {
    if (!value.length) return " []\n";
    return `\n${value.map((item) => `${indent}-${item_(item, `${indent}  `)}`).join("")}`;
  }
  if (value !== null && typeof value === "object") {
    const entries = Object.entries(value);
    if (!entries.length) return " {}\n";
    return `\n${entries.map(([key, item]) => `${indent}${scalar(key)}:${block(item, deeper(item, indent))}`).join("")}`;
  }
  return ` ${scalar(value)}\n`;
}

/**
 * An item of a list: the first line of an object stands behind the dash.
 * @param {unknown} item
 * @param {string} indent
 */
function item_(item, indent) {
  const text = block(item, indent);
  return text.startsWith("\n") ? ` ${text.slice(1 + indent.length)}` : text;
}

/** @param {unknown} item @param {string} indent */
function deeper(item, indent) {
  return Array.isArray(item) || (item !== null && typeof item === "object") ? `${indent}  ` : indent;
}

/** @param {unknown} value */
function scalar(value) {
  if (typeof value !== "string") return typeof value === "bigint" ? String(value) : JSON.stringify(value);
  return AMBIGUOUS.test(value) ? JSON.stringify(value) : value;
}

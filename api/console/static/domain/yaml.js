/**
 * A definition as YAML, as people write it. It only writes what JSON can hold.
 */

/** Texts that a reader could take for something else, or that YAML gives a meaning. */
const AMBIGUOUS = /^$|^[\s\-?:,[\]{}#&*!|>'"%@`]|: |:$| #|\s$|^(true|false|null|yes|no|on|off|y|n|~|<<|[+-]?\.(inf|nan))$|^[+-]?[\d.][\d_.,:a-foxtz+-]*$|^\.\.\./i;

/** What YAML takes for the end of a line or does not take, and JSON does not escape. */
const UNESCAPED = /[\x7f-\x9f\u2028\u2029\ufeff]/g;

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
  const quoted = JSON.stringify(value).replace(UNESCAPED, escaped);
  return AMBIGUOUS.test(value) || quoted !== `"${value}"` ? quoted : value;
}

/** @param {string} char */
function escaped(char) {
  return `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

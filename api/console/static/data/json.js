/**
 * JSON without losing a digit: integers that a double can't hold become `BigInt`.
 *
 * Not every browser tells `JSON.parse` how a number was written (Firefox before 135 and Safari before 18.4 do not), so
 * such integers are texts while it reads.
 */

/** Stands before the digits of such a text. Nobody can have written it. */
const MARK = `${Math.random()} `;

/** What tells where strings begin and end, and numbers. Whole strings would take more stack than there is. */
const TOKENS = /\\.|"|-?\d[\d.eE+-]*/g;

/**
 * @param {string} text
 * @returns {any}
 */
export function parseExactly(text) {
  if (!/\d{16}/.test(text)) return JSON.parse(text);
  let isString = false;
  const marked = text.replace(TOKENS, (token) => {
    if (token === '"') isString = !isString;
    return isString || !isLarge(token) ? token : JSON.stringify(MARK + token);
  });
  return JSON.parse(marked, exactly);
}

/** @param {string} token */
function isLarge(token) {
  return /^-?\d+$/.test(token) && !Number.isSafeInteger(Number(token));
}

/** @param {string} _ @param {unknown} value */
function exactly(_, value) {
  return typeof value === "string" && value.startsWith(MARK) ? BigInt(value.slice(MARK.length)) : value;
}

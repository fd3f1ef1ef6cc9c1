/**
 * JSON without losing a digit: integers that a double can't hold become `BigInt`.
 */

/**
 * @param {string} text
 * @returns {any}
 */
export function parseExactly(text) {
  return JSON.parse(text, exactly);
}

/**
 * @param {string} _
 * @param {any} value
 * @param {{source?: string}} [context] not given by older browsers; then large integers are rounded, as `JSON.parse` does
 */
function exactly(_, value, context) {
  const source = context?.source;
  if (typeof value !== "number" || Number.isSafeInteger(value) || !source || !/^-?\d+$/.test(source)) return value;
  return BigInt(source);
}

/**
 * Failures in plain words: what probably happened, and what helps. The original text is always shown beside them.
 */
import { words } from "../base/words.js";

/**
 * @typedef {{what: string, help: string}} Explanation
 */

/** @type {[RegExp, (match: RegExpExecArray) => Explanation][]} */
const KNOWN = [
  [/^canceled$/, () => words.failures.aborted],
  [/account @?(\S+) (?:has|had) insufficient funds|insufficient.?fund/i, ([, account]) => words.failures.noMoney(account)],
  [/balance.*(?:insufficient|too low)|not enough (?:money|funds|balance)/i, () => words.failures.noMoney("")],
  [/^variable "(.+)" is not given/, ([, name]) => words.failures.noVariable(name)],
  [/wallet not found/i, () => words.failures.noWallet],
  [/multiple wallets/i, () => words.failures.manyWallets],
  [/amount must be specified/i, () => words.failures.noAmount],
  [/^HTTP (5\d\d)/, ([, status]) => words.failures.serviceBroken(status)],
  [/^HTTP 429/, () => words.failures.serviceBusy],
  [/^HTTP (401|403)/, ([, status]) => words.failures.notAllowed(status)],
  [/^HTTP 404/, () => words.failures.notFound],
  [/^timeout after /, () => words.failures.timeout],
  [/^no connection after|connection (?:refused|reset|failed|closed|broken|aborted|timed out)/i, () => words.failures.unreachable],
  [/network is unreachable|no route to host|host name is not known/i, () => words.failures.unreachable],
];

/** By the errorCode that the stack told. @type {Record<string, () => Explanation>} */
const BY_TYPE = {
  INSUFFICIENT_FUND: () => words.failures.noMoney(""),
  VALIDATION: () => words.failures.refused,
  CONFLICT: () => words.failures.conflict,
  NOT_FOUND: () => words.failures.notFound,
};

/**
 * @param {string} text of an error or a failure
 * @param {string} [type] the errorCode of it
 * @returns {Explanation | null} null when nobody knows better than the text
 */
export function explain(text, type) {
  for (const [pattern, explanation] of KNOWN) {
    const match = pattern.exec(text);
    if (match) return explanation(match);
  }
  return type && Object.hasOwn(BY_TYPE, type) ? BY_TYPE[type]() : null;
}

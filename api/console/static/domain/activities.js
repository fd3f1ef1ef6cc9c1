/**
 * What an activity does, read from its input, which is that of the contract.
 */

/** @typedef {import("../data/resources.js").Json} Json */

/**
 * What matters of an activity: how much, from where, where to. What is not known is left out.
 * @param {Json} activity of a stage's history
 * @returns {{amount?: string, asset?: string, from?: string, to?: string, about?: string}}
 */
export function essence(activity) {
  const input = activity.input?.[activity.name] ?? {};
  const reader = READERS[activity.name];
  try {
    return reader ? reader(input) : {};
  } catch {
    return {}; // an input of another build; it is shown as it is below
  }
}

/** @type {Record<string, (input: Json) => Json>} */
const READERS = {
  GetAccount: (input) => ({ about: input.id }),
  AddAccountMetadata: (input) => ({ about: input.id ?? input.account }),
  GetPayment: (input) => ({ about: input.id }),
  GetWallet: (input) => ({ about: input.id }),
  ListWallets: (input) => ({ about: input.name }),
  CreateTransaction: (input) => posting(input.data ?? input.Data ?? {}),
  CreditWallet: ({ id, data = {} }) => ({
    amount: data.amount?.amount, asset: data.amount?.asset, from: data.sources?.[0]?.identifier, to: id,
  }),
  DebitWallet: ({ id, data = {} }) => ({
    amount: data.amount?.amount, asset: data.amount?.asset, from: id, to: data.destination?.identifier,
  }),
  CreateTransferInitiation: (input) => ({
    amount: input.amount, asset: input.asset, from: input.source, to: input.destination,
  }),
};

/** @param {Json} data of a transaction: with postings, or with a script */
function posting(data) {
  const [first] = data.postings ?? [];
  if (first) return { amount: first.amount, asset: first.asset, from: first.source, to: first.destination };
  const script = String(data.script?.plain ?? "");
  const [, asset, amount] = /send \[(\S+) (\d+)\]/.exec(script) ?? [];
  const [, from] = /source = @(\S+)/.exec(script) ?? [];
  const [, to] = /destination = @(\S+)/.exec(script) ?? [];
  return { amount, asset, from, to };
}

/** The value under the activity's name, which inputs and outputs wrap. @param {Json} activity @param {string} side */
export function unwrapped(activity, side) {
  const wrapped = activity[side];
  const value = wrapped && Object.hasOwn(wrapped, activity.name) ? wrapped[activity.name] : wrapped;
  if (side !== "input" || activity.name !== "CreateTransaction" || !value) return value;
  const { Ledger, Data, ...rest } = value; // they repeat `ledger` and `data`, for readers of the older API
  return rest;
}

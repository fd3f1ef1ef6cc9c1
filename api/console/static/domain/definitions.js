/**
 * What a definition says, with the variables of an instance put in.
 */

/** @typedef {import("../data/resources.js").Json} Json */

/**
 * A text with its variables put in. A variable that was not given stays as it is written.
 * @param {unknown} text
 * @param {Json} variables
 */
export function resolved(text, variables) {
  if (typeof text !== "string") return text;
  return text.replace(/\$\{([^}]*)\}/g, (whole, name) => (Object.hasOwn(variables, name) ? variables[name] : whole));
}

/** The kind of a stage: `send`, `wait_event` … @param {Json} stage @returns {string} */
export function kindOf(stage) {
  return Object.keys(stage ?? {})[0] ?? "";
}

/** @param {Json} stage @returns {Json} */
export function fieldsOf(stage) {
  return stage?.[kindOf(stage)] ?? {};
}

/**
 * An amount of a definition; null where there is none, or where a variable of it is not known.
 * @param {Json} stage
 * @param {Json} variables
 * @returns {{amount: string, asset: string} | null}
 */
export function amountOf(stage, variables) {
  const given = fieldsOf(stage).amount;
  if (kindOf(stage) !== "send" || !given) return null;
  const amount = String(resolved(given.amount ?? "", variables));
  const asset = String(resolved(given.asset ?? "", variables));
  return /^\+?\d+$/.test(amount) && asset && !asset.includes("${") ? { amount: amount.replace("+", ""), asset } : null;
}

/** How many amounts are shown of one instance; more would not tell what it is about. */
const MAX_AMOUNTS = 2;

/**
 * The money that an instance moves: all that its sends move, each amount once.
 * @param {Json} instance
 * @returns {({amount: string, asset: string} | "payment")[]} `"payment"` for all of a payment; none if one of them is not
 *   known, or if there are too many: a part would be taken for the whole
 */
export function amountsOfInstance(instance) {
  const variables = instance.variables ?? {};
  /** @type {Map<string, any>} */
  const amounts = new Map();
  for (const stage of instance.workflow?.config?.stages ?? []) {
    if (kindOf(stage) !== "send") continue;
    const { amount, source } = fieldsOf(stage);
    const one = !amount && source?.payment ? "payment" : amountOf(stage, variables);
    if (!one) return [];
    amounts.set(one === "payment" ? one : `${one.asset} ${one.amount}`, one);
  }
  return amounts.size > MAX_AMOUNTS ? [] : [...amounts.values()];
}

/**
 * One end of a send.
 * @param {Json} end
 * @param {Json} variables
 * @returns {{kind: string, name: string}}
 */
export function endOf(end, variables) {
  const kind = ["account", "wallet", "payment"].find((name) => end?.[name]) ?? "";
  const fields = end?.[kind] ?? {};
  const name = fields.id || fields.name || [fields.psp, fields.type].filter(Boolean).join(" ");
  return { kind, name: String(resolved(name ?? "", variables)) };
}

/** The names of the workflow's events that a stage waits for. @param {Json[]} stages @param {Json} variables */
export function eventsOf(stages, variables) {
  const names = stages
    .filter((stage) => kindOf(stage) === "wait_event")
    .map((stage) => String(resolved(fieldsOf(stage).event ?? "", variables)));
  return [...new Set(names)];
}

/** A workflow's name, or what stands for one. @param {Json | undefined} workflow @returns {string} */
export function nameOf(workflow) {
  return workflow?.config?.name || "";
}

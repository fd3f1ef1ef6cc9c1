/** Short notices of what has happened, read out by screen readers and shown for a while. */
import { Store } from "./store.js";

/** Long enough to be read. Tests know this number, too. */
const SHOWN_MS = 6000;

/** @type {Store<{id: number, text: string}[]>} */
export const notices = new Store([]);
let last = 0;

/** @param {string} text */
export function say(text) {
  const id = ++last;
  notices.set([...notices.value.slice(-2), { id, text }]);
  setTimeout(() => notices.set(notices.value.filter((one) => one.id !== id)), SHOWN_MS);
}

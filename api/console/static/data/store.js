/**
 * A value that components watch.
 */
import { useEffect, useState } from "../base/ui.js";

/**
 * @template T
 */
export class Store {
  /** @param {T} value */
  constructor(value) {
    this.value = value;
    /** @type {Set<() => void>} */
    this.watchers = new Set();
  }

  /** @param {T} value */
  set(value) {
    if (value === this.value) return;
    this.value = value;
    for (const watcher of [...this.watchers]) watcher();
  }
}

/**
 * The present value; the component is drawn again when it changes.
 * @template T
 * @param {Store<T>} store
 * @returns {T}
 */
export function useStore(store) {
  const [, redraw] = useState({});
  useEffect(() => {
    const watcher = () => redraw({});
    store.watchers.add(watcher);
    watcher(); // it may have changed since it was drawn
    return () => void store.watchers.delete(watcher);
  }, [store]);
  return store.value;
}

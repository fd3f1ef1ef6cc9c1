/**
 * What components are made of: `html` makes a tree of elements, hooks keep state. Values in `html` become text nodes and
 * attributes, never markup. Marks in them that turn the text around them are shown as what they are.
 */
import { useEffect, useRef } from "../lib/hooks.js";
import htm from "../lib/htm.js";
import { h, options } from "../lib/preact.js";

export { createContext, Fragment, render } from "../lib/preact.js";
export { useCallback, useContext, useEffect, useErrorBoundary, useId, useLayoutEffect, useMemo, useRef, useState }
  from "../lib/hooks.js";

export const html = htm.bind(h);

/**
 * Whether the component is still on the page, for what ends after it may have been left.
 * @returns {{current: boolean}}
 */
export function useIsShown() {
  const shown = useRef(true);
  useEffect(() => () => { shown.current = false; }, []);
  return shown;
}

/** Marks by which a name could turn an amount, or who pays whom. Letters that are written from the right need none. */
const TURNING = /[\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

options.vnode = (/** @type {any} */ node) => {
  if (node.type === null && typeof node.props === "string") node.props = node.props.replace(TURNING, "\ufffd");
};

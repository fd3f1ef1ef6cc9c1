/**
 * What components are made of: `html` makes a tree of elements, hooks keep state. Values in `html` become text nodes and
 * attributes, never markup.
 */
import htm from "../lib/htm.js";
import { h } from "../lib/preact.js";

export { createContext, Fragment, render } from "../lib/preact.js";
export { useCallback, useContext, useEffect, useErrorBoundary, useId, useLayoutEffect, useMemo, useRef, useState }
  from "../lib/hooks.js";

export const html = htm.bind(h);

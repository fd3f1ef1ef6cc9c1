/** As much of preact's types as the console uses. */
export function h(type: any, props: any, ...children: any[]): any;
export function render(tree: any, parent: Element): void;
export function createContext<T>(value: T): any;
export const Fragment: any;

/** Hooks into Preact: `vnode` is called with each element and each text before it is used. */
export const options: { vnode?: (node: any) => void };

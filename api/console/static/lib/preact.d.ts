/** As much of preact's types as the console uses. */
export function h(type: any, props: any, ...children: any[]): any;
export function render(tree: any, parent: Element): void;
export function createContext<T>(value: T): any;
export const Fragment: any;

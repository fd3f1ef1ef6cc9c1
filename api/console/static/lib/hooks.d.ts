/** As much of the hooks' types as the console uses. */
type Inputs = readonly unknown[];
export function useState<T>(initial: T | (() => T)): [T, (next: T | ((before: T) => T)) => void];
export function useEffect(effect: () => void | (() => void), inputs?: Inputs): void;
export function useLayoutEffect(effect: () => void | (() => void), inputs?: Inputs): void;
export function useRef<T>(initial: T): { current: T };
export function useMemo<T>(make: () => T, inputs: Inputs): T;
export function useCallback<T extends (...given: any[]) => any>(callback: T, inputs: Inputs): T;
export function useContext<T>(context: any): T;
export function useErrorBoundary(caught?: (error: unknown) => void): [unknown, () => void];
export function useId(): string;

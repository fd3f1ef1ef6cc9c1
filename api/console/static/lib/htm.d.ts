/** As much of htm's types as the console uses. */
declare const htm: { bind(h: any): (strings: TemplateStringsArray, ...values: unknown[]) => any };
export default htm;

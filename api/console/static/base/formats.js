/**
 * Formats: how money, times, durations, numbers and ids are written. The only place for them.
 *
 * Times are in the reader's zone; `utc` is for those who compare with a log.
 */

const locale = navigator.language || "en";

/** A minus that is as wide as a digit, so that columns of money line up. */
const MINUS = "−";

/** Between a number and its unit: they must not be torn apart at the end of a line. */
const GAP = "\u00a0";

/**
 * An amount as people write it: `EUR/2` and 1250 are `12.50 EUR`.
 *
 * The digits are moved as text, so that an amount of any size stays exact. The decimal mark is always a point, and
 * thousands are grouped by thin spaces: what somebody copies from here means the same everywhere.
 * @param {bigint | number | string} amount in the asset's smallest unit
 * @param {string} asset such as `EUR/2`; without `/` it has no fraction
 * @returns {string}
 */
export function money(amount, asset) {
  const digits = String(amount).trim();
  if (!/^-?\d+$/.test(digits)) return `${digits}${GAP}${asset}`;
  const [, currency = asset, precision = "0"] = /^([^/]*)\/(\d{1,2})$/.exec(asset) ?? [];
  const places = Number(precision);
  const sign = digits.startsWith("-") ? MINUS : "";
  const padded = digits.replace(/^-?0*/, "").padStart(places + 1, "0");
  const whole = padded.slice(0, padded.length - places).replace(/\B(?=(\d{3})+$)/g, "\u202f");
  const fraction = places ? `.${padded.slice(padded.length - places)}` : "";
  return `${sign}${whole}${fraction}${GAP}${currency}`;
}

const sameDay = new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const sameYear = new Intl.DateTimeFormat(locale, {
  day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hour12: false,
});
const anyYear = new Intl.DateTimeFormat(locale, {
  day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", hour12: false,
});
const whole = new Intl.DateTimeFormat(locale, { dateStyle: "full", timeStyle: "long", hour12: false });

/**
 * An instant, as short as it can be beside `now`: without the day when it is today, without the year when it is this one.
 * @param {string | number | Date} instant
 * @param {number} [now] milliseconds since 1970
 */
export function moment(instant, now = Date.now()) {
  const date = new Date(instant);
  const today = new Date(now);
  if (date.toDateString() === today.toDateString()) return sameDay.format(date);
  return (date.getFullYear() === today.getFullYear() ? sameYear : anyYear).format(date);
}

/**
 * An instant in full, in the reader's zone and in UTC: for hovering and for screen readers.
 * @param {string | number | Date} instant
 */
export function fullMoment(instant) {
  return `${whole.format(new Date(instant))}\n${utc(instant)}`;
}

/**
 * An instant in UTC, as logs have it; all digits of a text stay.
 * @param {string | number | Date} instant
 */
export function utc(instant) {
  const text = typeof instant === "string" ? instant : new Date(instant).toISOString();
  return `${text.replace("T", " ").replace(/Z$|\+00:00$/, "")} UTC`;
}

/** Units of durations, largest first, with their milliseconds. @type {[string, number][]} */
const UNITS = [["d", 86_400_000], ["h", 3_600_000], ["min", 60_000], ["s", 1000]];

/**
 * A duration in its two largest units: `3 d 4 h`, `2 min 5 s`, `1.2 s`, `12 ms`.
 * @param {number} milliseconds
 */
export function duration(milliseconds) {
  const left = Math.max(0, milliseconds);
  if (left < 1) return `${left ? left.toFixed(left < 0.1 ? 2 : 1) : 0}${GAP}ms`;
  if (left < 1000) return `${Math.round(left)}${GAP}ms`;
  if (left < 10_000) return `${(Math.floor(left / 100) / 10).toFixed(1)}${GAP}s`;
  return wholeSeconds(left);
}

/**
 * Likewise in whole seconds, for what counts up or down: digits that change faster can't be read.
 * @param {number} milliseconds
 */
export function wholeSeconds(milliseconds) {
  const left = Math.max(0, Math.floor(milliseconds / 1000) * 1000);
  const first = UNITS.findIndex(([, size]) => left >= size);
  if (first < 0) return `0${GAP}s`;
  const [unit, size] = UNITS[first];
  const rest = UNITS[first + 1];
  const more = rest ? Math.floor((left % size) / rest[1]) : 0;
  return `${Math.floor(left / size)}${GAP}${unit}${rest && more ? ` ${more}${GAP}${rest[0]}` : ""}`;
}

/**
 * Milliseconds from one instant to another; those of the API have microseconds, which `Date` would drop.
 * @param {string} from
 * @param {string | number} to
 */
export function between(from, to) {
  return exact(to) - exact(from);
}

/**
 * Milliseconds since 1970, with a fraction for microseconds.
 * @param {string | number} instant
 */
export function exact(instant) {
  if (typeof instant === "number") return instant;
  const [, micros = ""] = /\.\d{3}(\d{1,3})/.exec(instant) ?? [];
  return Date.parse(instant) + Number(micros.padEnd(3, "0")) / 1000;
}

const plain = new Intl.NumberFormat(locale);

/** @param {number} value */
export function count(value) {
  return plain.format(value);
}

/**
 * A number of bytes.
 * @param {number} bytes
 */
export function size(bytes) {
  return bytes < 1024 ? `${bytes}${GAP}B` : `${(bytes / 1024).toFixed(1)}${GAP}KiB`;
}

/**
 * An id as it is written where there is little room: its end, since ids of one second begin alike.
 * @param {string} id
 */
export function shortId(id) {
  return id.length > 12 ? `…${id.slice(-8)}` : id;
}

const ID = /\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/gi;

/**
 * A text in which ids are as short as in `shortId`.
 * @param {string} text
 */
export function withShortIds(text) {
  return text.replace(ID, shortId);
}

/**
 * A value as indented JSON. Integers of any size are written as they came.
 * @param {unknown} value
 */
export function json(value) {
  return written(value, "");
}

/** @param {unknown} value @param {string} indent @returns {string} */
function written(value, indent) {
  if (typeof value === "bigint") return String(value);
  if (value === null || typeof value !== "object") return JSON.stringify(value) ?? "null";
  const deeper = `${indent}  `;
  const items = Array.isArray(value)
    ? value.map((item) => written(item, deeper))
    : Object.entries(value).map(([key, item]) => `${JSON.stringify(key)}: ${written(item, deeper)}`);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  return items.length ? `${open}\n${deeper}${items.join(`,\n${deeper}`)}\n${indent}${close}` : open + close;
}

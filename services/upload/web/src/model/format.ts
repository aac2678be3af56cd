/** Values as people read them. One locale, so that figures line up whatever the browser speaks. */

const LOCALE = "en-GB";
/** Keeps a figure and its unit on one line. */
const NBSP = "\u00a0";
const UNITS = ["B", "kB", "MB", "GB", "TB"] as const;

export const formatCount = (n: number): string => n.toLocaleString(LOCALE);

export const plural = (n: number, one: string, many = `${one}s`): string =>
  `${formatCount(n)} ${n === 1 ? one : many}`;

/** Three significant figures in decimal units, as file managers and scanners show them. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return `${value.toFixed(digits)}${NBSP}${UNITS[unit]}`;
}

export const formatRate = (bytesPerSecond: number): string => `${formatBytes(bytesPerSecond)}/s`;

/** Whole percent, rounded down: 100 % only when it is all done. */
export const formatPercent = (fraction: number): string =>
  `${Math.floor(Math.min(1, Math.max(0, fraction)) * 100 + 1e-9)}${NBSP}%`;

export function formatRemaining(seconds: number): string {
  if (!Number.isFinite(seconds)) return "";
  if (seconds < 60) return `${Math.max(1, Math.ceil(seconds))} s left`;
  const minutes = Math.ceil(seconds / 60);
  if (minutes < 60) return `${minutes} min left`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min left`;
}

export const formatSize = (width: number, height: number): string =>
  `${formatCount(width)} × ${formatCount(height)} px`;

const trimmed = (value: number, digits: number): string => String(Number(value.toFixed(digits)));

export const formatMpp = (mpp: number): string => `${trimmed(mpp, 4)}${NBSP}µm/px`;

/** A magnification, more exact where the figure is small. */
export const formatMagnification = (times: number): string =>
  `${trimmed(times, times >= 10 ? 0 : times >= 1 ? 1 : 2)}×`;

/** `today, 14:32`, `24 Nov, 14:32` this year, else `24 Nov 2024`. */
export function formatWhen(iso: string, now: Date, timeZone?: string): string {
  const zone = timeZone === undefined ? {} : { timeZone };
  const show = (date: Date, options: Intl.DateTimeFormatOptions): string =>
    new Intl.DateTimeFormat(LOCALE, { ...options, ...zone }).format(date);
  const date = new Date(iso);
  const day: Intl.DateTimeFormatOptions = { day: "numeric", month: "short", year: "numeric" };
  const clock = show(date, { hour: "2-digit", minute: "2-digit" });
  if (show(date, day) === show(now, day)) return `today, ${clock}`;
  if (show(date, { year: "numeric" }) === show(now, { year: "numeric" }))
    return `${show(date, { day: "numeric", month: "short" })}, ${clock}`;
  return show(date, day);
}

/** `24 Nov, 14:32:07`, to the second. */
export function formatMoment(iso: string, timeZone?: string): string {
  const zone = timeZone === undefined ? {} : { timeZone };
  const date = new Date(iso);
  const day = new Intl.DateTimeFormat(LOCALE, { day: "numeric", month: "short", ...zone }).format(date);
  const clock = new Intl.DateTimeFormat(LOCALE, {
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    ...zone,
  });
  return `${day}, ${clock.format(date)}`;
}

/** The title of a session made by dropping files: local date and time, sortable. */
export function sessionTitle(now: Date): string {
  const two = (n: number): string => String(n).padStart(2, "0");
  const day = `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())}`;
  return `${day} ${two(now.getHours())}:${two(now.getMinutes())}`;
}

/** Names up to this long stand on two narrow lines as they are. */
const SHORT_NAME = 20;

/**
 * A file's name as a start, which may be cut where there is no room, and an end of twelve characters that has to stay
 * for the extension and what tells one scan from the next; a short name is all start.
 */
export function partsOf(name: string): [start: string, end: string] {
  // A mark belongs to the letter before it.
  const [, start = name, end = ""] = /^(.*?)((?:\P{M}\p{M}*){12})$/su.exec(name) ?? [];
  return name.length <= SHORT_NAME ? [name, ""] : [start, end];
}

/** Times and numbers for people. */

import { signal } from "@preact/signals";
import { clockAhead } from "./rpc";
import { zoneName, zoneOffset } from "./zone";

const MINUTE = 60;
const HOUR = 3600;
const DAY = 86_400;

/** Seconds of the browser's clock; it stands still while the page is hidden. */
export const seconds = signal(Date.now() / 1000);

export function startClock(): void {
  setInterval(() => {
    if (!document.hidden) seconds.value = Date.now() / 1000;
  }, 1000);
}

/** The time on the clock of the manager. */
export function now(): number {
  return seconds.value + clockAhead.value;
}

/** A length of time, in its two largest units. */
export function duration(length: number): string {
  if (length < 0.9995) return `${Math.max(0, Math.round(length * 1000))} ms`;
  if (length < 10) return `${length.toFixed(1)} s`;
  const whole = Math.round(length);
  if (whole < MINUTE) return `${whole} s`;
  if (whole < HOUR) return units(whole, MINUTE, "min", 1, "s");
  if (whole < DAY) return units(whole, HOUR, "h", MINUTE, "min");
  return units(whole, DAY, "d", HOUR, "h");
}

function units(whole: number, large: number, name: string, small: number, rest: string): string {
  const left = Math.floor((whole % large) / small);
  return `${Math.floor(whole / large)} ${name}${left ? ` ${left} ${rest}` : ""}`;
}

/** A moment as seen from now. */
export function ago(moment: number, at: number): string {
  const passed = at - moment;
  if (Math.abs(passed) < 1.5) return "now";
  const text = coarse(Math.abs(passed));
  return passed > 0 ? `${text} ago` : `in ${text}`;
}

function coarse(length: number): string {
  if (length < MINUTE) return `${Math.floor(length)} s`;
  if (length < HOUR) return `${Math.floor(length / MINUTE)} min`;
  if (length < 2 * DAY) return `${Math.floor(length / HOUR)} h`;
  return `${Math.floor(length / DAY)} days`;
}

const CLOCK = { hour: "2-digit", minute: "2-digit" } as const;
const KINDS = {
  full: [undefined, { dateStyle: "medium", timeStyle: "long" }],
  day: ["en-GB", { day: "numeric", month: "short" }],
  minute: ["en-GB", CLOCK],
  second: ["en-GB", { ...CLOCK, second: "2-digit" }],
} as const satisfies Record<string, [string | undefined, Intl.DateTimeFormatOptions]>;

/** To make one costs a hundred times as much as to use it. */
const formats = new Map<string, Intl.DateTimeFormat>();

function write(moment: number, kind: keyof typeof KINDS): string {
  const timeZone = zoneName();
  const key = `${kind} ${timeZone}`;
  let format = formats.get(key);
  if (format === undefined) {
    const [locale, options] = KINDS[kind];
    format = new Intl.DateTimeFormat(locale, { ...options, timeZone });
    formats.set(key, format);
  }
  return format.format(moment * 1000);
}

/** A moment with date and zone. */
export function absolute(moment: number): string {
  return write(moment, "full");
}

/** A moment of a day, with seconds. */
export function clockTime(moment: number): string {
  return write(moment, "second");
}

/** A moment beside others that are `step` seconds apart: a date, or a time of day. */
export function mark(moment: number, step: number): string {
  const midnight = (moment + zoneOffset(moment)) % DAY === 0;
  if (step >= DAY || midnight) return write(moment, "day");
  return write(moment, step < MINUTE ? "second" : "minute");
}

/** A whole number with commas between thousands. */
export function count(number: number): string {
  return String(number).replace(/\B(?=(?:\d{3})+$)/g, ",");
}

export function plural(number: number, one: string, many = `${one}s`): string {
  return `${count(number)} ${number === 1 ? one : many}`;
}

/** Lengths of time between two moments of the manager. */

import { duration } from "./format";

type Time = number | null | undefined;

/** Seconds from one moment to another, never negative; null if one of them is not known. */
export function between(from: Time, to: Time): number | null {
  if (from === null || from === undefined || to === null || to === undefined) return null;
  return Math.max(0, Number(to) - Number(from));
}

export function lengthText(from: Time, to: Time): string {
  const seconds = between(from, to);
  return seconds === null ? "–" : duration(seconds);
}

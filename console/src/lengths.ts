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

interface Attempt {
  queued_at: number | null;
  ended_at: number | null;
}

/** Attempts of a run in their order, each queued only since the one before it has ended: stages of one lease share the time at which the run was queued. */
export function inTurn<T extends Attempt>(attempts: readonly T[]): T[] {
  let free = 0;
  return attempts.map((one) => {
    const queued = one.queued_at === null ? null : Math.max(Number(one.queued_at), free);
    free = Math.max(free, Number(one.ended_at ?? 0));
    return { ...one, queued_at: queued };
  });
}

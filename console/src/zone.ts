/** The zone of the times: that of the browser, or UTC. */

import { signal } from "@preact/signals";

const NAME = "kaiju-zone";

const chosen = signal(localStorage.getItem(NAME) ?? "");

export const inUtc = (): boolean => chosen.value === "UTC";

export function setUtc(utc: boolean): void {
  chosen.value = utc ? "UTC" : "";
  if (utc) localStorage.setItem(NAME, "UTC");
  else localStorage.removeItem(NAME);
}

/** The IANA name for `Intl`; undefined is the zone of the browser. */
export function zoneName(): string | undefined {
  return chosen.value || undefined;
}

/** Seconds by which the clock of the zone is ahead of UTC at a moment. */
export function zoneOffset(moment: number): number {
  return inUtc() ? 0 : -new Date(moment * 1000).getTimezoneOffset() * 60;
}

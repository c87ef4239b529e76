/** How often a page asks again: pages that nobody uses ask less, because there can be many of them. */

const USED_MS = 60_000;
const SIGNS = ["pointermove", "pointerdown", "keydown", "wheel", "touchstart", "focus"];

/** Milliseconds between two answers to one query. */
export const AGAIN_MS = { used: 1_000, unused: 30_000 };
/** Events in a second that a page listens to; with more of them, it asks now and then instead. */
export const FLOOD = { used: 500, unused: 20 };
/** Milliseconds until a page listens again after more events than that. */
export const CALM_MS = { used: 2_000, unused: 30_000 };
/** Of the regular questions of a page that nobody uses, one in so many is asked. */
const SKIPPED = 4;

let last = performance.now();

/** Whether somebody has touched the page within the last minute. */
export function isUsed(): boolean {
  return performance.now() - last < USED_MS;
}

export function rate(of: { used: number; unused: number }): number {
  return isUsed() ? of.used : of.unused;
}

/** Whether a question that comes regularly is to be asked this time.
 *
 * @param turn - how often its time has come
 */
export function isDue(turn: number): boolean {
  return isUsed() || turn % SKIPPED === 0;
}

/** @param back - called when somebody uses the page again */
export function startTempo(back: () => void): void {
  function used(): void {
    const away = !isUsed();
    last = performance.now();
    if (away) back();
  }
  for (const sign of SIGNS) addEventListener(sign, used, { capture: true, passive: true });
  document.addEventListener("visibilitychange", used);
}

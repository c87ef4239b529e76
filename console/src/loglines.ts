/** The last lines of a log, read page by page. Pure. */

import type { LogLine, LogPage } from "./types";

/** The most lines that are kept: the last ones. */
const MOST = 5000;
/** How long lines of a run that goes on are read before they are shown: it can log faster than it is read. */
const LONGEST_MS = 1_000;

export interface Kept {
  lines: LogLine[];
  cursor: string | null;
  dropped: number;
  /** Whether nobody wants more lines. */
  over: boolean;
}

export interface Read extends Kept {
  /** Whether lines may follow that are already there. */
  more: boolean;
}

export const NO_LINES: Kept = { lines: [], cursor: null, dropped: 0, over: false };

/** Read the lines that follow those that are kept, until a page is empty: pages of long lines are short.
 *
 * @param open - whether the run goes on; it is then read for a moment only
 * @param ask - reads a page of the lines after a cursor, from the first without one
 */
export async function readOn(kept: Kept, open: boolean, ask: (after: object) => Promise<LogPage>): Promise<Read> {
  const end = open ? performance.now() + LONGEST_MS : Infinity;
  for (;;) {
    const { data, cursor } = await ask(kept.cursor === null ? {} : { after: kept.cursor });
    if (kept.over || data.length === 0) return { ...kept, more: false };
    const lines = [...kept.lines, ...data];
    kept.dropped += Math.max(0, lines.length - MOST);
    kept.lines = lines.slice(-MOST);
    kept.cursor = cursor;
    if (performance.now() >= end) return { ...kept, more: true };
  }
}

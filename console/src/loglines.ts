/** The last lines of a log, read page by page. Pure. */

import type { LogLine, LogPage } from "./types";

/** The most lines that are kept: the last ones. */
const MOST = 5000;

export interface Kept {
  lines: LogLine[];
  cursor: string | null;
  dropped: number;
  /** Whether nobody wants more lines. */
  over: boolean;
}

export const NO_LINES: Kept = { lines: [], cursor: null, dropped: 0, over: false };

/** Read the lines that follow those that are kept, until a page is empty: pages of long lines are short.
 *
 * @param ask - reads a page of the lines after a cursor, from the first without one
 */
export async function readOn(kept: Kept, ask: (after: object) => Promise<LogPage>): Promise<Kept> {
  for (;;) {
    const { data, cursor } = await ask(kept.cursor === null ? {} : { after: kept.cursor });
    if (kept.over || data.length === 0) return { ...kept };
    const lines = [...kept.lines, ...data];
    kept.dropped += Math.max(0, lines.length - MOST);
    kept.lines = lines.slice(-MOST);
    kept.cursor = cursor;
  }
}

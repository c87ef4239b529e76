/** What differs between two texts, or two definitions. Pure. */

import { format } from "./json";

export interface Line {
  kind: "same" | "gone" | "new";
  text: string;
}

/** More cells than this are not compared line by line. */
const CELLS_MAX = 4_000_000;

/** The lines of two texts, with those that differ marked. */
export function lineDiff(before: string, after: string): Line[] {
  const old = before.split("\n");
  const now = after.split("\n");
  let head = 0;
  while (head < old.length && head < now.length && old[head] === now[head]) head += 1;
  let tail = 0;
  while (
    tail < old.length - head &&
    tail < now.length - head &&
    old[old.length - 1 - tail] === now[now.length - 1 - tail]
  ) {
    tail += 1;
  }
  const same = (text: string): Line => ({ kind: "same", text });
  return [
    ...old.slice(0, head).map(same),
    ...middle(old.slice(head, old.length - tail), now.slice(head, now.length - tail)),
    ...old.slice(old.length - tail).map(same),
  ];
}

function middle(old: string[], now: string[]): Line[] {
  const gone = (text: string): Line => ({ kind: "gone", text });
  const added = (text: string): Line => ({ kind: "new", text });
  if (old.length * now.length > CELLS_MAX) return [...old.map(gone), ...now.map(added)];
  const width = now.length + 1;
  const common = new Uint32Array((old.length + 1) * width);
  for (let a = old.length - 1; a >= 0; a -= 1) {
    for (let b = now.length - 1; b >= 0; b -= 1) {
      common[a * width + b] =
        old[a] === now[b]
          ? (common[(a + 1) * width + b + 1] as number) + 1
          : Math.max(common[(a + 1) * width + b] as number, common[a * width + b + 1] as number);
    }
  }
  const lines: Line[] = [];
  let a = 0;
  let b = 0;
  while (a < old.length || b < now.length) {
    if (a < old.length && b < now.length && old[a] === now[b]) {
      lines.push({ kind: "same", text: old[a] as string });
      a += 1;
      b += 1;
    } else if (b === now.length || (a < old.length && (common[(a + 1) * width + b] as number) >= (common[a * width + b + 1] as number))) {
      lines.push(gone(old[a] as string));
      a += 1;
    } else {
      lines.push(added(now[b] as string));
      b += 1;
    }
  }
  return lines;
}

/** The lines that differ, each with some lines around it; null stands for lines that are left out. */
export function excerpt(lines: Line[], around: number): (Line | null)[] {
  const near = new Set<number>();
  lines.forEach((line, at) => {
    if (line.kind === "same") return;
    for (let one = at - around; one <= at + around; one += 1) near.add(one);
  });
  const shown: (Line | null)[] = [];
  lines.forEach((line, at) => {
    if (near.has(at)) shown.push(line);
    else if (shown[shown.length - 1] !== null) shown.push(null);
  });
  return shown;
}

type Data = Record<string, unknown>;

/** The fields in which two definitions differ. */
export function changedFields(before: Data, after: Data): string[] {
  const names = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...names].filter((name) => written(before[name]) !== written(after[name])).sort();
}

function written(value: unknown): string {
  return value === undefined ? "" : format(value);
}

/** My changes of a definition upon what somebody else has made of it meanwhile.
 *
 * @returns the definition with both, and the fields that both have changed, which are as I have them
 */
export function merged(base: Data, mine: Data, theirs: Data): { data: Data; both: string[] } {
  const own = changedFields(base, mine);
  const other = new Set(changedFields(base, theirs));
  const data: Data = { ...theirs };
  for (const name of own) {
    if (name in mine) data[name] = mine[name];
    else delete data[name];
  }
  return { data, both: own.filter((name) => other.has(name) && written(mine[name]) !== written(theirs[name])) };
}

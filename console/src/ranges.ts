/** Filters by numbers and times: `>2`, `2..5`, `<15m`, `2026-11-28`. Pure. */

export type Kind = "number" | "past" | "coming";

/** The columns of numbers and of times, and what each is called in a filter. */
export const RANGED: Record<string, [title: string, kind: Kind]> = {
  retries: ["retries", "number"],
  priority: ["priority", "number"],
  stage: ["stage", "number"],
  exit_code: ["exit code", "number"],
  status_change: ["changed", "past"],
  created: ["created", "past"],
  next_run: ["next run", "coming"],
};

/** What can be typed, for suggestions and messages. */
export const EXAMPLES: Record<Kind, readonly string[]> = {
  number: ["0", ">0", "1..3"],
  past: ["<15m", "<24h", ">7d", "2026-11-28", "2026-11-01..2026-11-07"],
  coming: ["<1h", "<24h", ">7d", "2026-11-28"],
};

export type Operators = { gt?: number; ge?: number; lt?: number; le?: number };

const OPERATOR = { "<": "lt", "<=": "le", ">": "gt", ">=": "ge" } as const;
const AGE = /^(\d+(?:\.\d+)?) ?(s|m|min|h|d|w)$/;
const UNITS: Record<string, number> = { s: 1, m: 60, min: 60, h: 3_600, d: 86_400, w: 604_800 };
const NUMBER = /^-?\d{1,15}$/;
const DATE = /^(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d(?::\d\d)?))?(Z| ?UTC)?$/;
const DAY = 86_400;

/** The condition for a value as it is typed; null if it is none.
 *
 * @param now - for lengths of time, UNIX seconds
 * @param utc - whether dates are in UTC, and not in the zone of the browser
 */
export function range(kind: Kind, value: string, now: number, utc: boolean): number | Operators | null {
  const text = value.trim();
  const ends = text.split("..");
  const [, sign = "", rest = ""] = /^(<=|>=|<|>|=)?\s*(.*)$/s.exec(text) ?? [];
  if (kind === "number") {
    if (ends.length === 2) return numbers(ends as [string, string]);
    if (!NUMBER.test(rest)) return null;
    return sign === "" || sign === "=" ? Number(rest) : { [OPERATOR[sign as keyof typeof OPERATOR]]: Number(rest) };
  }
  const age = AGE.exec(rest);
  if (age) return sign === "=" ? null : within(kind, sign.startsWith(">"), Number(age[1]) * (UNITS[age[2] as string] as number), now);
  if (ends.length === 2) {
    const [from, to] = ends.map((end) => moment(end, utc)) as [Moment | null, Moment | null];
    return from && to ? { ge: from.at, lt: to.at + to.length } : null;
  }
  const found = moment(rest, utc);
  if (found === null) return null;
  const { at, length } = found;
  if (sign === "" || sign === "=") return { ge: at, lt: at + length };
  return { ">": { ge: at + length }, ">=": { ge: at }, "<": { lt: at }, "<=": { lt: at + length } }[sign] ?? null;
}

function numbers(ends: [string, string]): Operators | null {
  const [from, to] = ends.map((end) => end.trim()) as [string, string];
  return NUMBER.test(from) && NUMBER.test(to) ? { ge: Number(from), le: Number(to) } : null;
}

/** `<` is nearer to now than a length of time, in the past or in the time to come. */
function within(kind: Kind, farther: boolean, length: number, now: number): Operators {
  if (kind === "past") return farther ? { lt: now - length } : { ge: now - length };
  return farther ? { gt: now + length } : { le: now + length };
}

interface Moment {
  at: number;
  /** A day, which a change of the clock makes longer or shorter, a minute or a second. */
  length: number;
}

function moment(text: string, utc: boolean): Moment | null {
  const [, day, time, zone] = DATE.exec(text.trim()) ?? [];
  if (day === undefined) return null;
  const [year, month, date] = day.split("-").map(Number) as [number, number, number];
  const at = Date.parse(`${day}T${time ?? "00:00"}${utc || zone ? "Z" : ""}`) / 1000;
  // Some browsers read 2026-02-30 as a day of March.
  if (!Number.isFinite(at) || new Date(Date.UTC(year, month - 1, date)).getUTCDate() !== date) return null;
  const next = utc || zone ? at + DAY : new Date(year, month - 1, date + 1).getTime() / 1000;
  return { at, length: time === undefined ? next - at : time.length > 5 ? 1 : 60 };
}

/** Runs as bars in lanes, and as densities where there are too many. Pure: no page and no clock. */

import type { ListedTask, TaskError } from "./types";

export type LaneKind = "executor" | "stream" | "task" | "group" | "label";
export type SegmentKind = "queued" | "waiting" | "held" | "running";

/** More bars than this are drawn as densities. */
export const BARS_MAX = 2_000;
/** A lane with more rows than this is drawn as a density. */
export const ROWS_MAX = 24;
export const LANES_MAX = 60;

/** What a bar needs to know of an ended run (runs.list). Times are UNIX seconds. */
export interface EndedRun {
  task_id: string;
  job_id: string | null;
  status: string;
  app_name: string;
  scheduled_at: number | null;
  queued_at: number | null;
  started_at: number | null;
  ended_at: number | null;
  executor_id: string | null;
  group: string | null;
  parent_id: string | null;
  labels?: Record<string, string>;
  error: TaskError | null;
}

export interface OpenRun extends ListedTask {
  queued_at: number | null;
  labels?: Record<string, string>;
}

export interface Segment {
  kind: SegmentKind;
  from: number;
  to: number;
}

export interface Bar {
  key: string;
  task: string;
  job: string | null;
  state: string;
  stream: string;
  executor: string | null;
  group: string | null;
  labels: Record<string, string>;
  parent: string | null;
  error: string | null;
  open: boolean;
  from: number;
  to: number;
  segments: Segment[];
}

export interface LaneView {
  name: string | null;
  bars: Bar[];
  /** Without the fires that are to come. */
  runs: number;
  failed: number;
  /** Bars that do not overlap, in the order of time; empty if the lane is drawn as a density. */
  rows: Bar[][];
}

type Time = number | null | undefined;

function first(...times: Time[]): number | null {
  for (const time of times) if (time !== null && time !== undefined) return Number(time);
  return null;
}

/** The key by which a run is the same in two answers. */
export function keyOf(run: EndedRun): string {
  return run.job_id ?? `${run.task_id} ${run.scheduled_at}`;
}

/** The bar of an ended run, or of a missed fire; null if it has no time. */
export function endedBar(run: EndedRun): Bar | null {
  const from = first(run.queued_at, run.started_at, run.scheduled_at, run.ended_at);
  if (from === null) return null;
  const to = run.job_id === null ? from : Math.max(from, first(run.ended_at) ?? from);
  const started = first(run.started_at);
  const segments: Segment[] = [];
  if (run.job_id !== null) {
    const begun = Math.min(to, Math.max(from, started ?? to));
    if (begun > from) segments.push({ kind: "queued", from, to: begun });
    if (started !== null) segments.push({ kind: "running", from: begun, to });
  }
  return {
    key: keyOf(run),
    task: run.task_id,
    job: run.job_id,
    state: run.status,
    stream: run.app_name,
    executor: run.executor_id,
    group: run.group,
    labels: run.labels ?? {},
    parent: run.parent_id,
    error: run.error ? `${run.error.type}: ${run.error.message}` : null,
    open: false,
    from,
    to,
    segments,
  };
}

const OPEN_KINDS: Record<string, SegmentKind> = {
  QUEUED: "queued",
  EXECUTED: "running",
  WAITING: "waiting",
  SUSPENDED: "held",
};

/** The bar of an open run, up to now. What was before its present status is known only roughly. */
export function openBar(task: OpenRun, now: number): Bar | null {
  const kind = OPEN_KINDS[task.status];
  if (kind === undefined) return null;
  const since = Math.min(now, Number(task.since));
  const from = Math.min(since, first(task.queued_at) ?? since);
  const segments: Segment[] = [];
  const fresh = task.stage === 0 && Number(task.retries) === 0;
  if (from < since) segments.push({ kind: fresh ? "queued" : "running", from, to: since });
  segments.push({ kind, from: since, to: now });
  return {
    key: task.job_id ?? task.id,
    task: task.id,
    job: task.job_id,
    state: task.status,
    stream: task.app_name,
    executor: task.executor_id,
    group: task.group,
    labels: task.labels ?? {},
    parent: task.parent_id,
    error: task.error ? `${task.error.type}: ${task.error.message}` : null,
    open: true,
    from,
    to: now,
    segments,
  };
}

/** The lane of a bar; null for those that have none of the kind. */
export function laneOf(bar: Bar, kind: LaneKind, label: string): string | null {
  if (kind === "executor") return bar.executor;
  if (kind === "stream") return bar.stream;
  if (kind === "task") return bar.task;
  if (kind === "group") return bar.group;
  return bar.labels[label] ?? null;
}

/** The lanes with those bars that are within a time.
 *
 * Executors and streams stand by name; others by their number of bars. The lane without a name is
 * the last.
 * @param least - seconds that a bar takes at least, so that short ones do not cover each other
 */
export function lanesOf(
  bars: Bar[],
  kind: LaneKind,
  label: string,
  start: number,
  end: number,
  least: number,
): LaneView[] {
  const groups = new Map<string | null, Bar[]>();
  let shown = 0;
  for (const bar of bars) {
    if (bar.to < start || bar.from >= end) continue;
    const name = laneOf(bar, kind, label);
    const own = groups.get(name);
    if (own) own.push(bar);
    else groups.set(name, [bar]);
    if (bar.state !== COMING) shown += 1;
  }
  const byName = kind === "executor" || kind === "stream";
  return [...groups]
    .sort(([a, one], [b, two]) => {
      if (a === null || b === null) return a === null ? 1 : -1;
      return (byName ? 0 : two.length - one.length) || (a < b ? -1 : 1);
    })
    .map(([name, own]) => {
      own.sort((a, b) => a.from - b.from);
      const rows = shown > BARS_MAX ? [] : pack(own, least);
      return {
        name,
        bars: own,
        runs: own.filter((bar) => bar.state !== COMING).length,
        failed: own.filter((bar) => isBad(bar.state)).length,
        rows: rows.length > ROWS_MAX ? [] : rows,
      };
    });
}

/** The state of a bar that stands for a fire that is to come. */
export const COMING = "COMING";

export function isBad(state: string): boolean {
  return state === "FAILED" || state === "CANCELLED" || state === "MISSED";
}

/** Put bars, which are in the order of their begin, into the first row that is free. */
export function pack(bars: Bar[], least: number): Bar[][] {
  const rows: Bar[][] = [];
  const free: number[] = [];
  for (const bar of bars) {
    let row = free.findIndex((at) => at <= bar.from);
    if (row < 0) row = rows.push([]) - 1;
    (rows[row] as Bar[]).push(bar);
    free[row] = Math.max(bar.to, bar.from + least);
  }
  return rows;
}

/** The bar of a row at a time, or null.
 *
 * @param least - as in `lanesOf`
 */
export function barAt(row: Bar[], time: number, least: number): Bar | null {
  let low = 0;
  let high = row.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((row[middle] as Bar).from <= time) low = middle + 1;
    else high = middle;
  }
  const bar = row[low - 1];
  return bar && time <= Math.max(bar.to, bar.from + least) ? bar : null;
}

export interface Density {
  /** The mean number of runs that executed in each slot. */
  running: number[];
  /** The mean number of runs that did not: queued, waiting or held. */
  idle: number[];
  /** How many runs ended badly in each slot. */
  failed: number[];
  most: number;
}

/** How many runs there were at a time, in slots of equal length. */
export function density(bars: Bar[], start: number, end: number, slots: number): Density {
  const running = new Array<number>(slots).fill(0);
  const idle = new Array<number>(slots).fill(0);
  const failed = new Array<number>(slots).fill(0);
  const length = (end - start) / slots;
  for (const bar of bars) {
    for (const segment of bar.segments) {
      spread(segment.kind === "running" ? running : idle, segment, start, length);
    }
    const slot = Math.floor((bar.to - start) / length);
    if (isBad(bar.state) && slot >= 0 && slot < slots) failed[slot] = (failed[slot] as number) + 1;
  }
  const most = running.reduce((high, one, at) => Math.max(high, one + (idle[at] as number)), 0);
  return { running, idle, failed, most };
}

function spread(sums: number[], segment: Segment, start: number, length: number): void {
  const from = Math.max(0, Math.floor((segment.from - start) / length));
  const to = Math.min(sums.length - 1, Math.floor((segment.to - start) / length));
  for (let slot = from; slot <= to; slot += 1) {
    const begin = start + slot * length;
    const covered = Math.min(segment.to, begin + length) - Math.max(segment.from, begin);
    if (covered > 0) sums[slot] = (sums[slot] as number) + covered / length;
  }
}

const MINUTE = 60;
const HOUR = 3600;
const DAY = 86_400;
const STEPS = [
  1, 2, 5, 10, 15, 30,
  MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE,
  HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR,
  DAY, 2 * DAY, 7 * DAY, 14 * DAY, 28 * DAY,
];

/** Round times within a range.
 *
 * @param offset - seconds by which the clock of the zone is ahead of UTC at a time
 */
export function ticks(
  start: number,
  end: number,
  most: number,
  offset: (time: number) => number,
): { step: number; times: number[] } {
  const step = STEPS.find((one) => (end - start) / one <= most) ?? Math.ceil((end - start) / most);
  const times: number[] = [];
  const ahead = offset(start);
  for (let local = Math.ceil((start + ahead) / step) * step; ; local += step) {
    let time = local - ahead;
    time = local - offset(time); // the clock was changed meanwhile
    if (time >= end) return { step, times };
    if (time >= start && time !== times[times.length - 1]) times.push(time);
  }
}

/** A range that is zoomed about a time; never shorter than a second or longer than a year. */
export function zoomed(start: number, end: number, factor: number, about: number): [number, number] {
  const length = Math.min(366 * DAY, Math.max(1, (end - start) * factor));
  const part = (about - start) / (end - start);
  const from = about - part * length;
  return [from, from + length];
}

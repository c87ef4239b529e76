/** What the timeline shows, read from the manager. */

import { call, may, RpcError } from "./rpc";
import { COMING, endedBar, openBar, type Bar, type EndedRun, type OpenRun } from "./timeline";
import type { Page } from "./types";

const PAGE = 1_000;
/** The most ended runs that are read for a range. */
export const RUNS_MAX = 10_000;
/** Runs are written in another order than they end. */
const OVERLAP_SECONDS = 30;
const DAY = 86_400;
const COLUMNS = [
  "id", "app_name", "status", "stage", "retries", "queued_at", "since", "executor_id", "job_id", "group", "labels",
  "parent_id", "error",
];

export interface Mark {
  id: string;
  at: number;
  label: string;
  app_name: string | null;
}

interface Coming {
  id: string;
  at: number;
  app_name: string;
}

export interface Range {
  start: number;
  end: number;
  /** Whether it follows the clock. */
  live: boolean;
}

export interface Fleet {
  at: number;
  range: Range;
  bars: Bar[];
  marks: Mark[];
  /** Runs that ended before this were not read: there are too many. */
  since: number | null;
  /** Whether there are more open runs, or coming fires, than were read. */
  more: boolean;
}

export type Conditions = Record<string, unknown>;

/** Ended runs of a moving range: what was read once is not asked again. */
class Ended {
  private readonly bars = new Map<string, Bar>();
  private latest: number | null = null;
  since: number | null = null;

  constructor(private readonly conditions: Conditions) {}

  async read(start: number): Promise<Bar[]> {
    const from = this.latest === null ? start : Math.max(start, this.latest - OVERLAP_SECONDS);
    const { runs, cut } = await readRuns({ ...this.conditions, ended_at: { ge: from } });
    if (cut !== null) {
      this.bars.clear();
      this.since = cut;
    }
    for (const run of runs) {
      const bar = endedBar(run);
      if (bar) this.bars.set(bar.key, bar);
      this.latest = Math.max(this.latest ?? 0, Number(run.ended_at ?? 0));
    }
    for (const [key, bar] of this.bars) if (bar.to < start) this.bars.delete(key);
    return [...this.bars.values()];
  }
}

/** Runs, the last ended first; `cut` is the time before which they were not read. */
async function readRuns(conditions: Conditions): Promise<{ runs: EndedRun[]; cut: number | null }> {
  const runs: EndedRun[] = [];
  let cursor: string | null = null;
  do {
    const page: Page<EndedRun> = await call("runs.list", { conditions, limit: PAGE, cursor });
    runs.push(...page.data);
    cursor = page.count_more || runs.length < page.count ? page.cursor : null;
  } while (cursor !== null && runs.length < RUNS_MAX);
  const last = runs[runs.length - 1];
  return { runs, cut: cursor !== null && last ? Number(last.ended_at) : null };
}

/** Ended runs of a range that stands still, also those that ended within a day after it. */
async function readStill(conditions: Conditions, { start, end }: Range): Promise<{ bars: Bar[]; since: number | null }> {
  const [within, after] = await Promise.all([
    readRuns({ ...conditions, ended_at: { ge: start, lt: end } }),
    call<Page<EndedRun>>("runs.list", {
      conditions: { ...conditions, ended_at: { ge: end, lt: end + DAY }, queued_at: { lt: end } },
      sort: ["ended_at"],
      limit: PAGE,
    }),
  ]);
  const bars = [...within.runs, ...after.data].map(endedBar).filter((bar) => bar !== null);
  return { bars, since: within.cut };
}

async function readOpen(conditions: Conditions, statuses: string[], now: number): Promise<{ bars: Bar[]; more: boolean }> {
  const page = await call<Page<OpenRun>>("tasks.list", {
    conditions: { ...conditions, status: statuses },
    columns: COLUMNS,
    limit: PAGE,
  });
  const bars = page.data.map((task) => openBar(task, now)).filter((bar) => bar !== null);
  return { bars, more: page.cursor !== null };
}

async function readComing(conditions: Conditions, from: number, to: number): Promise<{ bars: Bar[]; more: boolean }> {
  if (to <= from || !may("schedules.upcoming")) return { bars: [], more: false };
  try {
    const found = await call<{ data: Coming[]; more: boolean }>("schedules.upcoming", {
      start: from,
      end: to,
      conditions,
      limit: PAGE,
    });
    return { bars: found.data.map(comingBar), more: found.more };
  } catch (error) {
    // Of too many schedules the first fires of a later time are not known.
    if (error instanceof RpcError && error.data.type === "too_large") return { bars: [], more: true };
    throw error;
  }
}

function comingBar(fire: Coming): Bar {
  const at = Number(fire.at);
  return {
    key: `${fire.id} coming ${at}`,
    task: fire.id,
    job: null,
    state: COMING,
    stream: fire.app_name,
    executor: null,
    group: null,
    labels: {},
    parent: null,
    error: null,
    open: false,
    from: at,
    to: at,
    segments: [],
  };
}

/** Reads of one timeline, one after another. */
export class FleetReader {
  private key = "";
  private ended = new Ended({});

  /** @param task - a pattern of task ids, or null */
  async read(range: Range, stream: string | null, task: string | null, now: number): Promise<Fleet> {
    const common: Conditions = stream === null ? {} : { app_name: stream };
    const runs = task === null ? common : { ...common, task_id: { like: task } };
    const tasks = task === null ? common : { ...common, id: { like: task } };
    const key = JSON.stringify([runs, range.end - range.start]);
    if (range.live && key !== this.key) {
      this.key = key;
      this.ended = new Ended(runs);
    }
    const { ended } = this;
    const [past, active, idle, coming, marks] = await Promise.all([
      range.live
        ? ended.read(range.start).then((bars) => ({ bars, since: ended.since }))
        : readStill(runs, range),
      readOpen(tasks, ["EXECUTED", "WAITING"], now),
      readOpen(tasks, ["QUEUED", "SUSPENDED"], now),
      readComing(tasks, Math.max(now, range.start), range.end),
      may("marks.list") ? call<Mark[]>("marks.list", { start: range.start, end: range.end }) : [],
    ]);
    const bars = new Map<string, Bar>();
    for (const bar of [...active.bars, ...idle.bars, ...coming.bars, ...past.bars]) bars.set(bar.key, bar);
    return {
      at: now,
      range,
      bars: [...bars.values()],
      marks: marks.filter((mark) => stream === null || mark.app_name === null || mark.app_name === stream),
      since: past.since !== null && past.since > range.start ? past.since : null,
      more: active.more || idle.more || coming.more,
    };
  }
}

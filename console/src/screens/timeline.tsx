/** What happened together? */

import { signal } from "@preact/signals";
import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { absolute, count, duration, mark, now, plural } from "../format";
import { FleetReader, RUNS_MAX, type Fleet, type Range } from "../fleet";
import { inTurn } from "../lengths";
import { useQuery } from "../live";
import { Needs } from "../pages";
import { query, setQuery, url } from "../router";
import { call } from "../rpc";
import { RunStages } from "../stages";
import {
  BARS_MAX, barAt, COMING, density, isBad, LANES_MAX, lanesOf, ticks, zoomed, type Bar, type LaneKind, type LaneView,
} from "../timeline";
import type { StageRecord } from "../types";
import { Empty, Failure, Folded, Head, StatusChip, Table, TaskLink, When } from "../ui";
import { Word } from "../word";
import { inUtc, setUtc, zoneOffset } from "../zone";

const SPANS: [number, string][] = [
  [900, "15 min"],
  [3_600, "1 h"],
  [21_600, "6 h"],
  [86_400, "24 h"],
  [604_800, "7 days"],
];
const KINDS: Record<LaneKind, string> = {
  executor: "executor",
  stream: "stream",
  task: "task",
  group: "group",
  label: "label",
};
const NONE: Record<LaneKind, string> = {
  executor: "no executor",
  stream: "no stream",
  task: "no task",
  group: "no group",
  label: "without this label",
};
const SPAN = 3_600;
const AGAIN_SECONDS = 5;
/** The part of a range that follows the clock which is still to come. */
const AHEAD = 0.06;
const AHEAD_SECONDS = 3_600;
const TABLE_ROWS = 200;
const BAR = 11;
const STEP = 15;
const TOP = 6;
const DENSE_HEIGHT = 56;
/** Longer than any lane is high. */
const FAR = 4_000;
const AXIS_HEIGHT = 34;
const SLOT = 4;
const TICK_PIXELS = 84;
const LEAST_PIXELS = 2;
const DRAG_PIXELS = 5;

export const Timeline = () => (
  <Needs method="runs.list" title="Timeline">
    {() => <View />}
  </Needs>
);

/** Moments are read from the address: `from` and `to`, or the last `span` seconds. */
function rangeOf(params: URLSearchParams, at: number): Range {
  const from = Number(params.get("from") ?? NaN);
  const to = Number(params.get("to") ?? NaN);
  if (from < to) return { start: from, end: to, live: false };
  const span = Number(params.get("span")) || SPAN;
  const ahead = Math.min(AHEAD_SECONDS, span * AHEAD);
  return { start: at + ahead - span, end: at + ahead, live: true };
}

function View() {
  const params = query.value;
  const reader = useRef(new FleetReader());
  const kept = useRef<Fleet | undefined>(undefined);
  const stream = params.get("app_name");
  const task = params.get("q");
  const key = ["timeline", params.get("span"), params.get("from"), params.get("to"), stream, task].join("\n");
  const fleet = useQuery(
    key,
    () => {
      const at = now();
      return reader.current.read(rangeOf(params, at), stream, task, at);
    },
    undefined,
    AGAIN_SECONDS,
  );
  if (fleet.data) kept.current = fleet.data;
  const shown = kept.current; // while another range is read, what is known of it
  const range = shown ? rangeOf(params, shown.at) : null;
  return (
    <>
      <Head title="Timeline" />
      <Controls range={range} />
      <Failure error={fleet.error} retry={fleet.reload} />
      {shown && range ? <Lanes fleet={shown} range={range} /> : null}
      {shown || fleet.error ? null : (
        <p class="muted" role="status">
          Loading runs…
        </p>
      )}
    </>
  );
}

function setRange(start: number, end: number): void {
  const digits = end - start < 60 ? 3 : 0;
  setQuery({ from: start.toFixed(digits), to: end.toFixed(digits), span: null });
}

function Controls({ range }: { range: Range | null }) {
  const params = query.value;
  const span = range?.live ? Number(params.get("span")) || SPAN : null;
  const by = kindOf(params);

  function move(part: number): void {
    if (range) setRange(range.start + part * (range.end - range.start), range.end + part * (range.end - range.start));
  }
  function zoom(factor: number): void {
    if (range) setRange(...zoomed(range.start, range.end, factor, (range.start + range.end) / 2));
  }

  return (
    <div class="filters">
      <div class="row wrap ranges">
        <div class="segmented" role="group" aria-label="Range up to now">
          {SPANS.map(([seconds, title]) => (
            <button
              type="button"
              key={seconds}
              aria-pressed={span === seconds}
              onClick={() => setQuery({ span: seconds, from: null, to: null })}
            >
              {title}
            </button>
          ))}
        </div>
        <div class="row" role="group" aria-label="Move and zoom">
          <button type="button" onClick={() => move(-0.5)}>
            Earlier
          </button>
          <button type="button" onClick={() => move(0.5)}>
            Later
          </button>
          <button type="button" aria-label="Zoom in" onClick={() => zoom(0.5)}>
            +
          </button>
          <button type="button" aria-label="Zoom out" onClick={() => zoom(2)}>
            −
          </button>
        </div>
      </div>
      <Folded title="Lanes and filters" open={params.has("q") || params.has("app_name")}>
      <form
        class="row wrap bottom"
        role="search"
        aria-label="Filter the timeline"
        onSubmit={(event) => {
          event.preventDefault();
          const form = new FormData(event.currentTarget);
          const text = (name: string): string | null => String(form.get(name) ?? "").trim() || null;
          setQuery({ app_name: text("app_name"), q: text("q"), ...(by === "label" ? { key: text("key") } : {}) });
        }}
      >
        <label class="field">
          <span>Lanes by</span>
          <select value={by} onChange={(event) => setQuery({ by: event.currentTarget.value })}>
            {Object.entries(KINDS).map(([name, title]) => (
              <option key={name} value={name}>
                {title}
              </option>
            ))}
          </select>
        </label>
        {by === "label" ? <Word name="key" title="Key of the label" /> : null}
        <Word name="app_name" title="Stream" />
        <Word name="q" title="Task (% matches anything)" />
        <button type="submit">Show</button>
        <label class="row">
          <input type="checkbox" checked={inUtc()} onChange={(event) => setUtc(event.currentTarget.checked)} />
          times in UTC
        </label>
      </form>
      </Folded>
    </div>
  );
}

function kindOf(params: URLSearchParams): LaneKind {
  const by = params.get("by") ?? "";
  return by in KINDS ? (by as LaneKind) : "executor";
}

/** Pixels for a moment of the range. */
type Scale = (moment: number) => number;

function Lanes({ fleet, range }: { fleet: Fleet; range: Range }) {
  const params = query.value;
  const by = kindOf(params);
  const label = params.get("key") ?? "";
  const [frame, width] = useWidth();
  const [brush, setBrush] = useState<[number, number] | null>(null);
  const { start, end } = range;
  const least = (LEAST_PIXELS / Math.max(1, width)) * (end - start);
  const lanes = useMemo(
    () => (width ? lanesOf(fleet.bars, by, label, start, end, least) : []),
    [fleet, by, label, start, end, least],
  );
  const scale: Scale = (moment) => ((moment - start) / (end - start)) * width;
  const runs = lanes.reduce((sum, lane) => sum + lane.runs, 0);
  const run = params.get("run");
  const chosen = run === null ? undefined : fleet.bars.find((bar) => bar.key === run);
  const left = frame.current ? frame.current.clientWidth - width : 0;
  return (
    <>
      <p role="status" aria-live="polite">
        {plural(runs, "run")} between {absolute(start)} and {absolute(end)}
        {runs > BARS_MAX ? `: more than ${count(BARS_MAX)}, so each lane shows the mean number of open runs over time` : ""}
      </p>
      {fleet.since === null ? null : (
        <p class="muted">
          These are the last {count(RUNS_MAX)} runs of the range. Those that ended before {absolute(fleet.since)} are
          not shown: choose a shorter range, a stream or a task.
        </p>
      )}
      {fleet.more ? <p class="muted">Not all open runs and coming fires are shown.</p> : null}
      {label === "" && by === "label" ? <p class="muted">Enter the key of the label.</p> : null}
      <div class="fleet" ref={frame}>
        <Axis fleet={fleet} range={range} scale={scale} width={width} />
        {lanes.slice(0, LANES_MAX).map((lane) => (
          <Lane
            key={lane.name ?? ""}
            lane={lane}
            by={by}
            fleet={fleet}
            range={range}
            width={width}
            least={least}
            brush={setBrush}
          />
        ))}
        {brush ? (
          <div
            class="brush"
            style={{ left: `${left + Math.min(...brush)}px`, width: `${Math.abs(brush[1] - brush[0])}px` }}
          />
        ) : null}
      </div>
      {lanes.length ? null : <Empty title="No run in this range.">Choose another range, or remove a filter.</Empty>}
      {lanes.length > LANES_MAX ? (
        <p class="muted">{plural(lanes.length - LANES_MAX, "more lane")}: filter by a stream or a task.</p>
      ) : null}
      <Legend />
      <Tip />
      {chosen ? <Chosen bar={chosen} /> : null}
      <Listed lanes={lanes} />
    </>
  );
}

/** The width of the part that is drawn. */
function useWidth() {
  const frame = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => {
    const axis = frame.current?.querySelector("svg");
    if (!axis) return undefined;
    const measure = (): void => setWidth(axis.clientWidth);
    const observer = new ResizeObserver(measure);
    observer.observe(axis);
    measure();
    return () => observer.disconnect();
  }, []);
  return [frame, width] as const;
}

function Axis({ fleet, range, scale, width }: { fleet: Fleet; range: Range; scale: Scale; width: number }) {
  const { step, times } = ticks(range.start, range.end, Math.max(2, Math.floor(width / TICK_PIXELS)), zoneOffset);
  return (
    <div class="lane axis">
      <div class="lane-name" />
      <svg height={AXIS_HEIGHT} aria-hidden="true">
        {times.map((time) => (
          <text key={time} x={scale(time) + 3} y={14}>
            {mark(time, step)}
          </text>
        ))}
        <path class="grid" d={times.map((time) => `M${scale(time).toFixed(1)} 0v${AXIS_HEIGHT}`).join("")} />
        {fleet.marks.map((one) => (
          <text
            key={one.id}
            class="mark-text"
            x={scale(Number(one.at))}
            y={29}
            text-anchor={scale(Number(one.at)) > width / 2 ? "end" : "start"}
          >
            ▾ {one.label}
            <title>{`${one.label}, ${absolute(Number(one.at))}`}</title>
          </text>
        ))}
      </svg>
    </div>
  );
}

interface Hover {
  bar: Bar;
  x: number;
  y: number;
}

const hover = signal<Hover | null>(null);

interface LaneProps {
  lane: LaneView;
  by: LaneKind;
  fleet: Fleet;
  range: Range;
  width: number;
  least: number;
  brush: (ends: [number, number] | null) => void;
}

function Lane({ lane, by, fleet, range, width, least, brush }: LaneProps) {
  const { start, end } = range;
  const dense = lane.rows.length === 0;
  const height = dense ? DENSE_HEIGHT : lane.rows.length * STEP + TOP + 2;
  const scale: Scale = (moment) => ((moment - start) / (end - start)) * width;
  const drawn = useMemo(
    () => (dense ? drawDensity(lane.bars, start, end, width) : drawBars(lane.rows, scale, width)),
    [lane, start, end, width],
  );
  const from = useRef<number | null>(null);
  const name = lane.name ?? NONE[by];

  function momentAt(x: number): number {
    return start + (x / width) * (end - start);
  }
  function placeOf(event: PointerEvent | MouseEvent): { x: number; y: number } {
    const box = (event.currentTarget as Element).getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }
  function found(event: PointerEvent | MouseEvent): Bar | null {
    const { x, y } = placeOf(event);
    const row = lane.rows[Math.floor((y - TOP + 2) / STEP)];
    const moment = momentAt(x);
    return row ? (barAt(row, moment, 2 * least) ?? barAt(row, moment + least, 2 * least)) : null;
  }
  function over(event: PointerEvent): void {
    const { x } = placeOf(event);
    if (from.current !== null) {
      if (Math.abs(x - from.current) > DRAG_PIXELS) brush([from.current, x]);
      return;
    }
    const bar = found(event);
    (event.currentTarget as Element).classList.toggle("over", bar !== null);
    hover.value = bar ? { bar, x: event.clientX, y: event.clientY } : null;
  }
  function leave(): void {
    from.current = null;
    hover.value = null;
    brush(null);
  }
  function up(event: PointerEvent): void {
    const began = from.current;
    const bar = found(event);
    leave();
    const { x } = placeOf(event);
    if (began !== null && Math.abs(x - began) > DRAG_PIXELS) {
      setRange(momentAt(Math.min(began, x)), momentAt(Math.max(began, x)));
    } else if (bar) {
      setQuery({ run: bar.key });
    }
  }

  return (
    <div class="lane">
      <div class="lane-name">
        <LaneName lane={lane} by={by} />
        <span class="muted">
          {count(lane.runs)}
          {lane.failed ? <span class="bad-text"> · {count(lane.failed)} ✕</span> : null}
          {dense ? ` · ${drawn.note}` : ""}
        </span>
      </div>
      <svg
        class="plot"
        height={height}
        role="img"
        aria-label={`${name}: ${plural(lane.runs, "run")}, ${count(lane.failed)} failed, cancelled or missed`}
        onPointerDown={(event) => {
          if (event.button !== 0 || event.pointerType === "touch") return;
          from.current = placeOf(event).x;
          event.currentTarget.setPointerCapture(event.pointerId);
        }}
        onPointerMove={over}
        onPointerLeave={() => {
          if (from.current === null) leave();
        }}
        onPointerCancel={leave}
        onPointerUp={up}
        onClick={(event) => {
          // A finger: it neither hovers nor marks a range.
          if ((event as unknown as PointerEvent).pointerType !== "touch") return;
          const bar = found(event);
          if (bar) setQuery({ run: bar.key });
        }}
      >
        {range.end > fleet.at ? (
          <rect class="later" x={scale(fleet.at)} width={Math.max(0, width - scale(fleet.at))} height="100%" />
        ) : null}
        {fleet.since === null ? null : <rect class="unread" width={Math.max(0, scale(fleet.since))} height="100%" />}
        {drawn.paths.map(([kind, path]) => (
          <path key={kind} class={kind} d={path} />
        ))}
        <path class="mark" d={fleet.marks.map((one) => `M${scale(Number(one.at)).toFixed(1)} 0v${FAR}`).join("")} />
        <path class="present" d={`M${scale(fleet.at).toFixed(1)} 0v${FAR}`} />
        <Kin rows={lane.rows} scale={scale} />
      </svg>
    </div>
  );
}

function LaneName({ lane, by }: { lane: LaneView; by: LaneKind }) {
  const { name } = lane;
  if (name === null) return <span class="name muted">{NONE[by]}</span>;
  if (by === "task") {
    return (
      <a data-screen class="name" href={url("task", { id: name })}>
        {name}
      </a>
    );
  }
  if (by === "stream") {
    return (
      <button type="button" class="name" title="Only this stream" onClick={() => setQuery({ app_name: name, by: "task" })}>
        {name}
      </button>
    );
  }
  return <span class="name">{name}</span>;
}

/** Outlines of the bar under the pointer and of its task, its parent and its children. */
function Kin({ rows, scale }: { rows: Bar[][]; scale: Scale }) {
  const bar = hover.value?.bar;
  if (!bar) return null;
  const kin = (one: Bar): boolean =>
    one.task === bar.task || one.task === bar.parent || one.parent === bar.task;
  let path = "";
  rows.forEach((row, at) => {
    for (const one of row) {
      if (kin(one)) path += box(scale(one.from) - 1.5, at * STEP + TOP - 2, scale(one.to) - scale(one.from) + 3, BAR + 4);
    }
  });
  return <path class="bar-kin" d={path} />;
}

interface Drawing {
  paths: [string, string][];
  note: string;
}

function box(x: number, y: number, width: number, height: number): string {
  return `M${x.toFixed(1)} ${y.toFixed(1)}h${width.toFixed(1)}v${height.toFixed(1)}h${(-width).toFixed(1)}z`;
}

function runClass(state: string): string {
  if (state === "FINISHED") return "bar-finished";
  if (isBad(state)) return "bar-failed";
  return state === "EXECUTED" ? "bar-executed" : "bar-other";
}

/** Few paths for all bars of a lane, so that thousands cost as little as some. */
function drawBars(rows: Bar[][], scale: Scale, width: number): Drawing {
  const paths: Record<string, string> = {};
  const add = (kind: string, path: string): void => {
    paths[kind] = (paths[kind] ?? "") + path;
  };
  rows.forEach((row, at) => {
    const y = at * STEP + TOP;
    for (const bar of row) {
      const end = scale(bar.to);
      if (bar.state === COMING) {
        add("bar-coming", `M${end.toFixed(1)} ${y}l4 5.5l-4 5.5l-4 -5.5z`);
        continue;
      }
      for (const segment of bar.segments) {
        const x = Math.max(-4, scale(segment.from));
        const wide = Math.min(width + 4, scale(segment.to)) - x;
        if (segment.kind === "queued") add("bar-queued", box(x, y + 4, Math.max(0.5, wide), 3));
        else if (segment.kind === "running") add(runClass(bar.state), box(x, y, Math.max(1.5, wide), BAR));
        else add(`bar-${segment.kind}`, box(x, y + 1, Math.max(1.5, wide), BAR - 2));
      }
      if (isBad(bar.state)) add("bar-cap", `M${(end + 1).toFixed(1)} ${y - 3}v${BAR + 6}`);
    }
  });
  return { paths: Object.entries(paths), note: "" };
}

function drawDensity(bars: Bar[], start: number, end: number, width: number): Drawing {
  const slots = Math.max(1, Math.floor(width / SLOT));
  const found = density(bars, start, end, slots);
  const unit = (DENSE_HEIGHT - 10) / Math.max(1e-9, found.most);
  let running = "";
  let idle = "";
  let failed = "";
  for (let slot = 0; slot < slots; slot += 1) {
    const high = (found.running[slot] as number) * unit;
    const above = (found.idle[slot] as number) * unit;
    const x = slot * SLOT;
    if (high > 0) running += box(x, DENSE_HEIGHT - 6 - high, SLOT - 0.5, high);
    if (above > 0) idle += box(x, DENSE_HEIGHT - 6 - high - above, SLOT - 0.5, above);
    if ((found.failed[slot] as number) > 0) failed += box(x, DENSE_HEIGHT - 4, SLOT - 0.5, 4);
  }
  const most = found.most < 0.1 ? "below 0.1" : found.most < 10 ? found.most.toFixed(1) : count(Math.round(found.most));
  return {
    paths: [
      ["bar-queued", idle],
      ["bar-executed", running],
      ["bar-failed", failed],
    ],
    note: `highest mean ${most}`,
  };
}

const LEGEND: [string, string, string][] = [
  ["bar-queued", box(1, 6, 22, 3), "queued"],
  ["bar-executed", box(1, 2, 22, 11), "running"],
  ["bar-finished", box(1, 2, 22, 11), "finished"],
  ["bar-failed", `${box(1, 3, 20, 9)}M22 0v15h2v-15z`, "failed, cancelled or missed"],
  ["bar-waiting", box(1, 3, 22, 9), "waiting"],
  ["bar-held", box(1, 3, 22, 9), "suspended"],
  ["bar-coming", "M12 1l5 6.5l-5 6.5l-5 -6.5z", "coming fire"],
];

function Legend() {
  return (
    <div class="legend">
      {LEGEND.map(([kind, path, title]) => (
        <span key={title}>
          <svg width="24" height="15" aria-hidden="true">
            <path class={kind} d={path} />
          </svg>
          {title}
        </span>
      ))}
      <span>Drag over the lanes to zoom; choose a bar to see its stages.</span>
    </div>
  );
}

/** What is under the pointer. */
function Tip() {
  const at = hover.value;
  if (!at) return null;
  const { bar } = at;
  const right = at.x > innerWidth / 2;
  const place = {
    left: right ? "auto" : `${at.x + 14}px`,
    right: right ? `${innerWidth - at.x + 14}px` : "auto",
    top: `${Math.min(at.y + 14, innerHeight - 140)}px`,
  };
  return (
    <div class="tip" style={place}>
      <StatusChip status={bar.state} />
      <div class="id">{bar.task}</div>
      <div class="muted">
        {absolute(bar.from)}
        {bar.segments.map((one) => ` · ${WORDS[one.kind]} ${duration(one.to - one.from)}`).join("")}
      </div>
      {bar.error ? <div class="line bad-text">{bar.error}</div> : null}
    </div>
  );
}

const WORDS = { queued: "queued", running: "ran", waiting: "waits", held: "held" };

function Chosen({ bar }: { bar: Bar }) {
  const { job } = bar;
  const stages = useQuery(
    `timeline stages ${job ?? ""}`,
    () => (job === null ? Promise.resolve([]) : call<StageRecord[]>("tasks.stages", { job_id: job }).then(inTurn)),
    bar.task,
  );
  return (
    <section class="card" aria-labelledby="chosen">
      <h2 id="chosen">
        <a data-screen href={url("task", { id: bar.task, run: job })}>
          {bar.task}
        </a>
      </h2>
      <div class="row wrap">
        <StatusChip status={bar.state} />
        <span>{bar.segments.map((one) => `${WORDS[one.kind]} ${duration(one.to - one.from)}`).join(", ")}</span>
        <span class="muted">{bar.executor ?? ""}</span>
        <button type="button" class="quiet" onClick={() => setQuery({ run: null })}>
          Close
        </button>
      </div>
      {bar.error ? <p class="line bad-text">{bar.error}</p> : null}
      <Failure error={stages.error} retry={stages.reload} />
      {stages.data?.length ? <RunStages records={stages.data} from={bar.from} to={bar.to} /> : null}
    </section>
  );
}

/** The same runs as text: for the keyboard, and for those who do not see the picture. */
function Listed({ lanes }: { lanes: LaneView[] }) {
  const [open, setOpen] = useState(false);
  const bars = open ? lanes.flatMap((lane) => lane.bars).sort((a, b) => b.from - a.from) : [];
  return (
    <details onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>As a table</summary>
      {open ? (
        <>
          {bars.length > TABLE_ROWS ? <p class="muted">The last {TABLE_ROWS} to start.</p> : null}
          <Table
            label="Runs in this range"
            heads={["Status", "Task", "Started", "Parts", ["Executor", "wide"], ["Stream", "wide"]]}
          >
            {bars.slice(0, TABLE_ROWS).map((bar) => (
              <tr key={bar.key}>
                <td class="status">
                  <StatusChip status={bar.state} />
                </td>
                <td class="what">
                  <TaskLink id={bar.task} />
                </td>
                <td class="nowrap since">
                  <When at={bar.from} />
                </td>
                <td>{bar.segments.map((one) => `${WORDS[one.kind]} ${duration(one.to - one.from)}`).join(", ") || "–"}</td>
                <td class="wide">{bar.executor ?? "–"}</td>
                <td class="wide">{bar.stream}</td>
              </tr>
            ))}
          </Table>
        </>
      ) : null}
    </details>
  );
}

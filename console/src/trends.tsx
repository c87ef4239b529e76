/** What ran over the last hour, day or week, how long it waited and ran, and what was changed meanwhile. */

import { untracked } from "@preact/signals";
import { absolute, count, duration, mark, now } from "./format";
import type { Mark } from "./fleet";
import { useQuery } from "./live";
import { call, may } from "./rpc";
import { chosenSpan, SpanButtons } from "./spans";
import { Failure } from "./ui";

interface Point {
  at: number;
  count: number;
  p95?: number | null;
}

interface Stats {
  start: number;
  end: number;
  step: number;
  data: { name: string; points: Point[] }[];
}

const SPANS: Record<string, [title: string, seconds: number, step: number]> = {
  hour: ["1 h", 3_600, 60],
  day: ["24 h", 86_400, 3_600],
  week: ["7 days", 604_800, 21_600],
};
const NAMES = ["runs.finished", "runs.failed", "runs.queue_seconds", "runs.run_seconds"];
const EVERY_SECONDS = 60;
const WIDTH = 600;
const HEIGHT = 80;

export function Trends() {
  if (!may("stats.series")) return null;
  return <Shown />;
}

function Shown() {
  const span = chosenSpan(SPANS, "hour");
  const [, seconds, step] = SPANS[span] as [string, number, number];
  const known = useQuery(`trends ${span}`, () => read(seconds, step), undefined, EVERY_SECONDS);
  return (
    <section aria-labelledby="trends">
      <div class="row wrap">
        <h2 id="trends">Runs</h2>
        <SpanButtons spans={SPANS} chosen={span} />
      </div>
      <Failure error={known.error} retry={known.reload} />
      {known.data ? <Charts {...known.data} /> : null}
    </section>
  );
}

interface Known {
  stats: Stats;
  marks: Mark[];
}

async function read(seconds: number, step: number): Promise<Known> {
  const end = (Math.floor(untracked(now) / step) + 1) * step;
  const within = { start: end - seconds, end };
  const [stats, marks] = await Promise.all([
    call<Stats>("stats.series", { names: NAMES, step, ...within }),
    may("marks.list") ? call<Mark[]>("marks.list", within) : [],
  ]);
  return { stats, marks };
}

function Charts({ stats, marks }: Known) {
  const points = (name: string): Point[] => stats.data.find((one) => one.name === name)?.points ?? [];
  const [finished, failed, queued, ran] = NAMES.map(points) as [Point[], Point[], Point[], Point[]];
  const total = (of: Point[]): number => of.reduce((sum, one) => sum + one.count, 0);
  const longest = (of: Point[]): number => of.reduce((most, one) => Math.max(most, Number(one.p95 ?? 0)), 0);
  const seconds = (of: Point[]): number[] => of.map((one) => Number(one.p95 ?? 0));
  const counts = (of: Point[]): number[] => of.map((one) => one.count);
  const shared = { stats, marks };
  return (
    <div class="trends">
      <Chart
        {...shared}
        title={`${count(total(finished))} finished, ${count(total(failed))} failed`}
        bars={[
          ["bar-finished", counts(finished)],
          ["bar-failed", counts(failed)],
        ]}
      />
      <Chart
        {...shared}
        title={total(queued) ? `In each interval, 95 % waited at most ${duration(longest(queued))}` : "No run has waited"}
        bars={[["bar-queued", seconds(queued)]]}
      />
      <Chart
        {...shared}
        title={total(ran) ? `In each interval, 95 % ran for at most ${duration(longest(ran))}` : "No run has ended"}
        bars={[["bar-executed", seconds(ran)]]}
      />
    </div>
  );
}

interface ChartProps {
  stats: Stats;
  marks: Mark[];
  title: string;
  /** Classes and values, the lowest part of each bar first. */
  bars: [string, number[]][];
}

function Chart({ stats, marks, title, bars }: ChartProps) {
  const start = Number(stats.start);
  const slots = Math.max(1, Math.round((Number(stats.end) - start) / Number(stats.step)));
  const sums = Array.from({ length: slots }, (_, at) => bars.reduce((sum, [, values]) => sum + (values[at] ?? 0), 0));
  const unit = (HEIGHT - 4) / Math.max(1e-9, ...sums);
  const wide = WIDTH / slots;
  const base = new Array<number>(slots).fill(HEIGHT);
  const paths = bars.map(([kind, values]): [string, string] => {
    let path = "";
    values.forEach((value, at) => {
      if (value <= 0) return;
      const high = Math.max(1, value * unit);
      base[at] = (base[at] as number) - high;
      path += `M${(at * wide).toFixed(1)} ${(base[at] as number).toFixed(1)}h${(wide * 0.85).toFixed(1)}v${high.toFixed(1)}h${(-wide * 0.85).toFixed(1)}z`;
    });
    return [kind, path];
  });
  const step = Number(stats.step);
  return (
    <figure class="card trend">
      <figcaption>{title}</figcaption>
      <svg role="img" aria-label={title} viewBox={`0 0 ${WIDTH} ${HEIGHT}`} height={HEIGHT} preserveAspectRatio="none">
        {paths.map(([kind, path]) => (
          <path key={kind} class={kind} d={path} />
        ))}
        {marks.map((one) => (
          <path key={one.id} class="mark" d={`M${(((Number(one.at) - start) / step) * wide).toFixed(1)} 0v${HEIGHT}`}>
            <title>{`${one.label}, ${absolute(Number(one.at))}`}</title>
          </path>
        ))}
      </svg>
      <div class="row ends muted">
        <span>{mark(start, step)}</span>
        <span>{mark(Number(stats.end), step)}</span>
      </div>
    </figure>
  );
}

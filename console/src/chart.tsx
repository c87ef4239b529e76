/** How long runs waited and ran, as bars; the table beside it has the same figures as text. */

import { duration } from "./format";
import { between } from "./lengths";
import type { Run } from "./types";

const HEIGHT = 96;
const WIDTH = 8;
const GAP = 3;

/** @param runs - the latest first; the latest stands on the right */
export function RunChart({ runs }: { runs: Run[] }) {
  const bars = runs
    .filter((run) => run.ended_at !== null && run.queued_at !== null)
    .map((run) => ({
      run,
      waited: between(run.queued_at, run.started_at ?? run.ended_at) ?? 0,
      ran: between(run.started_at, run.ended_at) ?? 0,
    }))
    .reverse();
  if (bars.length < 2) return null;
  const most = Math.max(...bars.map((bar) => bar.waited + bar.ran), 1e-3);
  const width = bars.length * (WIDTH + GAP);
  const longest = duration(most);
  return (
    <figure class="chart">
      <svg
        role="img"
        aria-label={`Durations of the last ${bars.length} runs; the longest took ${longest}`}
        viewBox={`0 0 ${width} ${HEIGHT}`}
        width={width}
        height={HEIGHT}
        preserveAspectRatio="none"
      >
        {bars.map(({ run, waited, ran }, at) => {
          const high = Math.max(1, (ran / most) * HEIGHT);
          const wait = (waited / most) * HEIGHT;
          const x = at * (WIDTH + GAP);
          return (
            <g key={run.job_id ?? at} class={`is-${run.status.toLowerCase()}`}>
              <title>{`${run.status}: waited ${duration(waited)}, ran ${duration(ran)}`}</title>
              <rect class="waited" x={x} y={HEIGHT - high - wait} width={WIDTH} height={wait} />
              <rect class="ran" x={x} y={HEIGHT - high} width={WIDTH} height={high} />
            </g>
          );
        })}
      </svg>
      <figcaption class="muted">
        The last {bars.length} runs, most recent on the right; the longest took {longest}. The pale part is the wait for
        an executor.
      </figcaption>
    </figure>
  );
}

/** The attempts of a run on one axis: how long each was queued, waited and ran. */

import { duration } from "./format";
import type { StageRecord } from "./types";

const WIDTH = 600;
const HEIGHT = 12;
const HOOKS = new Set(["_TIMER_", "_MESSAGE_", "_TASKS_"]);

/** @param from - the begin of the axis, UNIX seconds
 * @param to - its end, unless an attempt ended later
 */
export function RunStages({ records, from, to }: { records: StageRecord[]; from: number; to: number }) {
  const begin = Math.min(from, ...records.map((one) => Number(one.queued_at ?? one.started_at ?? from)));
  const end = Math.max(to, ...records.map((one) => Number(one.ended_at ?? to)));
  const x = (moment: number): number => ((moment - begin) / Math.max(1e-9, end - begin)) * WIDTH;
  return (
    <ol class="stages-list">
      {records.map((one, at) => {
        const queued = Number(one.queued_at ?? one.started_at ?? one.ended_at ?? begin);
        const started = Number(one.started_at ?? one.ended_at ?? end);
        const ended = Number(one.ended_at ?? end);
        const kind = HOOKS.has(one.method)
          ? "bar-waiting"
          : one.outcome === "FINISHED"
            ? "bar-finished"
            : one.outcome === "SKIPPED"
              ? "bar-other"
              : "bar-failed";
        return (
          <li key={at} class="stages">
            <span>
              {one.stage + 1}. {one.name ?? one.method}
              {one.attempt > 1 ? ` · attempt ${one.attempt}` : ""}
            </span>
            <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} height={HEIGHT} preserveAspectRatio="none" aria-hidden="true">
              <rect class="bar-queued" x={x(queued)} y={4} height={4} width={Math.max(0, x(started) - x(queued))} />
              <rect class={kind} x={x(started)} y={1} height={10} width={Math.max(2, x(ended) - x(started))} />
            </svg>
            <span class="nowrap">
              {one.outcome.toLowerCase()}, {duration(Math.max(0, ended - started))}
              {started - queued > 0.001 ? ` after ${duration(started - queued)} queued` : ""}
            </span>
          </li>
        );
      })}
    </ol>
  );
}

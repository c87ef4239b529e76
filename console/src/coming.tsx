/** The coming day of schedules, hour by hour, and the fires that were missed. */

import { untracked } from "@preact/signals";
import { count, mark, now, plural } from "./format";
import { useQuery } from "./live";
import { url } from "./router";
import { call, may } from "./rpc";
import { chosenSpan, SpanButtons } from "./spans";
import type { ComingFire, ListedRun, Page } from "./types";
import { Failure, TaskLink } from "./ui";
import { zoneOffset } from "./zone";

const HOUR = 3600;
const DAY = 86_400;
const MOST = 1000;
const LISTED = 12;
const SPANS: Record<string, [title: string, steps: number, step: number]> = {
  day: ["24 h", 24, HOUR],
  week: ["7 days", 7, DAY],
  month: ["30 days", 30, DAY],
};

interface Fires {
  data: ComingFire[];
  more: boolean;
}

export function ComingDay() {
  if (!may("schedules.upcoming")) return null;
  return <Hours />;
}

function Hours() {
  const span = chosenSpan(SPANS, "day");
  const [, steps, step] = SPANS[span] as [string, number, number];
  const coming = useQuery(
    `coming ${span}`,
    () => call<Fires>("schedules.upcoming", { limit: MOST, end: untracked(now) + steps * step }),
    undefined,
    60,
  );
  const missed = useQuery("missed", missedCount, undefined, 60);
  const fires = coming.data?.data ?? [];
  const hours = bySteps(fires, untracked(now), steps, step, zoneOffset);
  const most = Math.max(1, ...hours.map((one) => one.fires.length));
  const name = (at: number): string => mark(at, step);
  return (
    <section aria-labelledby="coming">
      <div class="row wrap">
        <h2 id="coming">Coming fires</h2>
        <SpanButtons spans={SPANS} chosen={span} />
      </div>
      <Failure error={coming.error} retry={coming.reload} />
      {missed.data ? (
        <p>
          <a data-screen href={url("runs", { outcome: "MISSED", span: "week" })}>
            {plural(missed.data, "fire was", "fires were")} missed in the last 7 days
          </a>
        </p>
      ) : null}
      {coming.data && fires.length === 0 ? <p class="muted">No fires in this time.</p> : null}
      {fires.length ? (
        <ol class="hours">
          {hours.map((hour) => (
            <li key={hour.start}>
              <details>
                <summary>
                  <span class="clock">{name(hour.start)}</span>
                  <meter min={0} max={most} value={hour.fires.length} aria-label={`Fires from ${name(hour.start)}`} />
                  <span class="number">{hour.fires.length ? count(hour.fires.length) : ""}</span>
                </summary>
                <ul class="ids">
                  {hour.fires.slice(0, LISTED).map((one, at) => (
                    <li key={at}>
                      {mark(Number(one.at), 60)} <TaskLink id={one.id} />
                      {["IDLE", "FINISHED", "FAILED"].includes(one.status) ? "" : ` (${one.status} now)`}
                    </li>
                  ))}
                  {hour.fires.length > LISTED ? <li>and {count(hour.fires.length - LISTED)} more</li> : null}
                </ul>
              </details>
            </li>
          ))}
        </ol>
      ) : null}
      {coming.data?.more ? <p class="muted">Only the first {count(MOST)} fires are shown.</p> : null}
    </section>
  );
}

async function missedCount(): Promise<number> {
  const since = untracked(now) - 7 * 86_400;
  if (!may("runs.list")) return 0;
  const found = await call<Page<ListedRun>>("runs.list", {
    conditions: { status: "MISSED", ended_at: { ge: since } },
    limit: 1,
  });
  return found.count;
}

interface Hour {
  start: number;
  fires: ComingFire[];
}

/** The hours or days that have a fire, in their order.
 *
 * @param offset - seconds by which the clock of the zone is ahead of UTC at a time
 */
export function bySteps(fires: ComingFire[], now: number, steps: number, step: number, offset: (time: number) => number): Hour[] {
  const first = Math.floor((now + offset(now)) / step) * step;
  const found = Array.from({ length: steps + 1 }, (_, at) => ({ start: first + at * step, fires: [] as ComingFire[] }));
  for (const fire of fires) {
    const at = Number(fire.at);
    found[Math.floor((at + offset(at) - first) / step)]?.fires.push(fire);
  }
  return found.filter((one) => one.fires.length > 0).map((one) => ({ ...one, start: one.start - offset(one.start - offset(now)) }));
}

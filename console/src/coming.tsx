/** The coming day of schedules, hour by hour, and the fires that were missed. */

import { count, plural } from "./format";
import { useQuery } from "./live";
import { url } from "./router";
import { call, may } from "./rpc";
import type { ComingFire, ListedRun, Page } from "./types";
import { Failure, TaskLink } from "./ui";

const HOURS = 24;
const HOUR = 3600;
const MOST = 1000;
const LISTED = 12;

interface Fires {
  data: ComingFire[];
  more: boolean;
}

export function ComingDay() {
  if (!may("schedules.upcoming")) return null;
  return <Hours />;
}

function Hours() {
  const coming = useQuery("coming", () => call<Fires>("schedules.upcoming", { limit: MOST }), undefined, 60);
  const missed = useQuery("missed", missedCount, undefined, 60);
  const fires = coming.data?.data ?? [];
  const hours = byHour(fires, Date.now() / 1000);
  const most = Math.max(1, ...hours.map((one) => one.fires.length));
  return (
    <section aria-labelledby="coming">
      <h2 id="coming">The next {HOURS} hours</h2>
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
                  <span class="clock">{clock(hour.start)}</span>
                  <meter min={0} max={most} value={hour.fires.length} aria-label={`Fires from ${clock(hour.start)}`} />
                  <span class="number">{hour.fires.length ? count(hour.fires.length) : ""}</span>
                </summary>
                <ul class="ids">
                  {hour.fires.slice(0, LISTED).map((one, at) => (
                    <li key={at}>
                      {clock(Number(one.at))} <TaskLink id={one.id} />
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
  const since = Date.now() / 1000 - 7 * 86_400;
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

/** The hours that have a fire, in their order. */
export function byHour(fires: ComingFire[], now: number): Hour[] {
  const first = Math.floor(now / HOUR) * HOUR;
  const hours = Array.from({ length: HOURS + 1 }, (_, at) => ({ start: first + at * HOUR, fires: [] as ComingFire[] }));
  for (const fire of fires) hours[Math.floor((Number(fire.at) - first) / HOUR)]?.fires.push(fire);
  return hours.filter((one) => one.fires.length > 0);
}

function clock(at: number): string {
  return new Date(at * 1000).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
}

/** What will run? */

import { useState } from "preact/hooks";
import { RunChart } from "../chart";
import { ComingDay } from "../coming";
import { cronWords } from "../cronwords";
import { absolute, duration, plural } from "../format";
import { useQuery } from "../live";
import { Needs, Pages, usePages } from "../pages";
import { call, may } from "../rpc";
import type { ListedRun, ListedTask, Page } from "../types";
import { Empty, Failure, Head, StatusChip, Table, TaskLink, When } from "../ui";

export const Schedules = () => (
  <Needs method="tasks.list" title="Schedules">
    {() => <ScheduleList />}
  </Needs>
);

/** What will run: the tasks with a next run, the earliest first. */
function ScheduleList() {
  const list = usePages<ListedTask>(
    "tasks.list",
    { conditions: { status: "IDLE", next_run: { gt: 0 } }, sort: ["next_run"] },
    () => true,
  );
  return (
    <>
      <Head title="Schedules" />
      <ComingDay />
      <h2>Next runs</h2>
      <p class="muted">Schedules, delayed tasks and retries, earliest first.</p>
      <Failure error={list.error} retry={list.reload} />
      {list.data?.data.length === 0 ? <Empty title="No runs are scheduled." /> : null}
      {list.data?.data.length ? (
        <Table label="Next runs" heads={["Next run", "Task", "Schedule", ["Last run", "wide"], ["Outcome", "wide"]]}>
          {list.data.data.map((task) => (
            <tr key={task.id}>
              <td class="status">{task.enabled ? <When at={task.next_run} /> : <span class="tag">disabled</span>}</td>
              <td class="what">
                <TaskLink id={task.id} />
                {task.description ? <span class="line">{task.description}</span> : null}
              </td>
              <td class="full">
                <Schedule task={task} />
              </td>
              <td class="wide nowrap">
                <When at={task.scheduled_at} />
              </td>
              <td class="wide">
                {task.exit_code === null ? "–" : <StatusChip status={task.exit_code === 0 ? "FINISHED" : "FAILED"} />}
              </td>
            </tr>
          ))}
        </Table>
      ) : null}
      <Pages cursor={list.data?.cursor} />
    </>
  );
}

function Schedule({ task }: { task: ListedTask }) {
  const [open, setOpen] = useState(false);
  if (task.cron === null && task.every === null) return <span class="muted">{task.status_reason ?? "once"}</span>;
  const words = task.cron === null ? `every ${duration(Number(task.every))}` : cronWords(task.cron);
  return (
    <details onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        {words ?? <code>{task.cron}</code>} <span class="muted">{task.cron === null ? "" : (task.timezone ?? "UTC")}</span>
      </summary>
      {open ? <Known task={task} words={words} /> : null}
    </details>
  );
}

const RUNS = 30;

/** Whether a schedule ran, and when it runs next. */
function Known({ task, words }: { task: ListedTask; words: string | null }) {
  const { id, cron } = task;
  const runs = useQuery(`runs of ${id}`, () => (may("runs.list") ? runsOf(id) : Promise.resolve(null)), id);
  return (
    <div class="part">
      {cron !== null && words !== null ? <code>{cron}</code> : null}
      {cron === null ? null : <Fires cron={cron} timezone={task.timezone ?? "UTC"} />}
      <Failure error={runs.error} retry={runs.reload} />
      {runs.data ? (
        <>
          <p>
            Last success: {runs.data.finished === null ? "none" : <When at={runs.data.finished} />}
            {runs.data.missed ? `; ${plural(runs.data.missed, "missed fire")}` : ""}
          </p>
          <RunChart runs={runs.data.last} />
        </>
      ) : null}
    </div>
  );
}

async function runsOf(id: string): Promise<{ last: ListedRun[]; finished: number | null; missed: number }> {
  const ask = (more: object, limit: number): Promise<Page<ListedRun>> =>
    call("runs.list", { conditions: { task_id: id, ...more }, limit });
  const [last, finished, missed] = await Promise.all([ask({}, RUNS), ask({ status: "FINISHED" }, 1), ask({ status: "MISSED" }, 1)]);
  return { last: last.data, finished: finished.data[0]?.ended_at ?? null, missed: missed.count };
}

function Fires({ cron, timezone }: { cron: string; timezone: string }) {
  const fires = useQuery(`fires ${cron} ${timezone}`, () => call<number[]>("cron.preview", { cron, timezone, n: 5 }));
  if (fires.error) return <Failure error={fires.error} />;
  return (
    <ul class="ids">
      {(fires.data ?? []).map((at) => (
        <li key={String(at)}>{absolute(Number(at))}</li>
      ))}
    </ul>
  );
}

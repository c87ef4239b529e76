/** What will run? */

import { useState } from "preact/hooks";
import { ComingDay } from "../coming";
import { absolute, duration } from "../format";
import { useQuery } from "../live";
import { Needs, Pages, usePages } from "../pages";
import { call } from "../rpc";
import type { ListedTask } from "../types";
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
        <Table label="Next runs">
          <thead>
            <tr>
              <th>Next run</th>
              <th>Task</th>
              <th>Schedule</th>
              <th class="wide">Last run</th>
              <th class="wide">Outcome</th>
            </tr>
          </thead>
          <tbody>
            {list.data.data.map((task) => (
              <tr key={task.id}>
                <td class="nowrap">{task.enabled ? <When at={task.next_run} /> : <span class="tag">disabled</span>}</td>
                <td class="what">
                  <TaskLink id={task.id} />
                  {task.description ? <span class="line">{task.description}</span> : null}
                </td>
                <td>
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
          </tbody>
        </Table>
      ) : null}
      <Pages cursor={list.data?.cursor} />
    </>
  );
}

function Schedule({ task }: { task: ListedTask }) {
  const [open, setOpen] = useState(false);
  if (task.cron === null) {
    if (task.every !== null) return <>every {duration(Number(task.every))}</>;
    return <span class="muted">{task.status_reason ?? "once"}</span>;
  }
  return (
    <details onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        <code>{task.cron}</code> {task.timezone ?? "UTC"}
      </summary>
      {open ? <Fires cron={task.cron} timezone={task.timezone ?? "UTC"} /> : null}
    </details>
  );
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

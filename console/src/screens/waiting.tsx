/** What waits for people? */

import { Answer } from "../answer";
import { plural } from "../format";
import { Needs, Pages, usePages } from "../pages";
import type { Task } from "../types";
import { Empty, Failure, Head, TaskLink, When } from "../ui";

const AWAITED = { status: "WAITING", status_reason: "message" };
const COLUMNS = ["id", "app_name", "status", "status_reason", "commands", "stage", "wait_deadline", "job_id", "description", "since"];
const PAGE = 20;

export const Waiting = () => (
  <Needs method="tasks.list" title="Waiting for people">
    {() => <List />}
  </Needs>
);

function List() {
  const list = usePages<Task>(
    "tasks.list",
    { conditions: AWAITED, sort: ["status_change"], columns: COLUMNS },
    () => true,
    PAGE,
  );
  return (
    <>
      <Head title="Waiting for people" />
      <p class="muted">{list.data ? `${plural(list.data.count, "task waits", "tasks wait")} for a message, longest wait first.` : ""}</p>
      <Failure error={list.error} retry={list.reload} />
      {list.data?.data.length === 0 ? <Empty title="No task waits for a message." /> : null}
      {list.data?.data.map((task) => (
        <article key={`${task.id} ${task.job_id} ${task.stage}`} class="card">
          <p>
            <TaskLink id={task.id}>{task.description ?? task.id}</TaskLink>{" "}
            <span class="muted">
              in {task.app_name}, since <When at={task.since} />
            </span>
          </p>
          <Answer task={task} reload={list.reload} />
        </article>
      ))}
      <Pages cursor={list.data?.cursor} />
    </>
  );
}

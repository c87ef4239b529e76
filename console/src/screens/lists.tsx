/** The simple lists: executors, schedules, pauses, notifications, audit. */

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { NO_RIGHT } from "../actions";
import { absolute, duration, plural } from "../format";
import { useQuery } from "../live";
import { query, setQuery } from "../router";
import { call, may } from "../rpc";
import type { AuditRecord, Executor, ListedTask, Notification, Page, Pause } from "../types";
import { attempt, Button, confirm, Empty, Failure, Head, Json, StatusChip, Table, TaskLink, When } from "../ui";

const PAGE = 100;

/** A list by pages; the cursor is in the address. */
function usePages<T>(method: string, params: object, follows = () => false) {
  const cursor = query.value.get("cursor");
  return useQuery(
    `${method} ${JSON.stringify(params)} ${cursor}`,
    () => call<Page<T>>(method, { ...params, cursor, limit: PAGE }),
    follows,
  );
}

function Pages({ cursor }: { cursor: string | null | undefined }) {
  const here = query.value.get("cursor");
  if (!cursor && !here) return null;
  return (
    <nav class="row" aria-label="Pages">
      {here ? (
        <button type="button" onClick={() => setQuery({ cursor: null })}>
          First page
        </button>
      ) : null}
      {cursor ? (
        <button type="button" onClick={() => setQuery({ cursor })}>
          Next page
        </button>
      ) : null}
    </nav>
  );
}

/** A screen that needs a method: without it, the reason. */
function Needs({ method, title, children }: { method: string; title: string; children: () => ComponentChildren }) {
  if (may(method)) return <>{children()}</>;
  return (
    <>
      <Head title={title} />
      <Empty title="Your token does not show this.">The method is {method}.</Empty>
    </>
  );
}

export const Executors = () => (
  <Needs method="executors.list" title="Executors">
    {() => <ExecutorList />}
  </Needs>
);
export const Schedules = () => (
  <Needs method="tasks.list" title="Schedules">
    {() => <ScheduleList />}
  </Needs>
);
export const Pauses = () => (
  <Needs method="pauses.list" title="Pauses">
    {() => <PauseList />}
  </Needs>
);
export const Notifications = () => (
  <Needs method="notifications.list" title="Notifications">
    {() => <NotificationList />}
  </Needs>
);
export const Audit = () => (
  <Needs method="audit.list" title="Audit">
    {() => <AuditList />}
  </Needs>
);

const CHANGES = {
  drain: ["Drain", "It gets no new tasks. Those that it holds go on."],
  suspend: ["Suspend", "Its tasks go to other executors, and it is refused until somebody resumes it."],
  resume: ["Resume", "It may take tasks again."],
} as const;

function ExecutorList() {
  const list = useQuery("executors", () => call<Executor[]>("executors.list"), undefined, 10);

  async function change(id: string, what: keyof typeof CHANGES): Promise<void> {
    const [title, effect] = CHANGES[what];
    if (!(await confirm({ title: `${title} ${id}?`, body: <p>{effect}</p>, action: title, danger: what === "suspend" })))
      return;
    await attempt(async () => {
      const now = await call<Executor>(`executors.${what}`, { id });
      return `The executor is ${now.status} now.`;
    });
    list.reload();
  }

  function refusal(one: Executor, what: keyof typeof CHANGES): string | null {
    if (!may(`executors.${what}`)) return NO_RIGHT;
    const held = ["DRAINING", "SUSPENDED"].includes(one.status);
    if (what === "resume") return held ? null : "It takes tasks.";
    if (what === "drain") return one.status === "ACTIVE" ? null : `It is ${one.status}.`;
    return one.status === "SUSPENDED" ? "It is suspended already." : null;
  }

  return (
    <>
      <Head title="Executors" />
      <Failure error={list.error} retry={list.reload} />
      {list.data?.length === 0 ? (
        <Empty title="No executor is connected.">
          Start one with <code>kaiju-tasks executor module:executor</code>.
        </Empty>
      ) : null}
      {list.data?.length ? (
        <Table label="Executors">
          <thead>
            <tr>
              <th>Status</th>
              <th>Executor</th>
              <th class="wide">Streams</th>
              <th class="number">Tasks</th>
              <th>Last ping</th>
              <th class="wide">Connected</th>
              <th>Actions</th>
            </tr>
          </thead>
          <tbody>
            {list.data.map((one) => (
              <tr key={one.id}>
                <td class="nowrap">
                  <StatusChip status={one.status} />
                </td>
                <td class="what">
                  <span class="id">{one.id}</span>
                  <span class="line">
                    {[one.host, one.pid === null ? null : `process ${one.pid}`, one.version].filter(Boolean).join(", ")}
                  </span>
                </td>
                <td class="wide">{one.app_names.join(", ")}</td>
                <td class="number nowrap">
                  {one.running} of {one.capacity}
                </td>
                <td class="nowrap">
                  <When at={one.last_ping} />
                </td>
                <td class="wide nowrap">
                  <When at={one.connected_at} />
                </td>
                <td>
                  <div class="row">
                    {(Object.keys(CHANGES) as (keyof typeof CHANGES)[]).map((what) => (
                      <Button
                        key={what}
                        label={`${CHANGES[what][0]} ${one.id}`}
                        refusal={refusal(one, what)}
                        onClick={() => void change(one.id, what)}
                      >
                        {CHANGES[what][0]}
                      </Button>
                    ))}
                  </div>
                </td>
              </tr>
            ))}
          </tbody>
        </Table>
      ) : null}
    </>
  );
}

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
      <p class="muted">What runs next: schedules, delayed tasks and retries, the earliest first.</p>
      <Failure error={list.error} retry={list.reload} />
      {list.data?.data.length === 0 ? <Empty title="No task has a next run." /> : null}
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

function PauseList() {
  const list = useQuery("pauses", () => call<Pause[]>("pauses.list"), undefined, 10);

  async function end(pause: Pause): Promise<void> {
    const yes = await confirm({
      title: "End this pause?",
      body: <p class="break">The tasks that it holds go on. Reason: {pause.reason}</p>,
      action: "End the pause",
    });
    if (!yes) return;
    await attempt(async () => {
      await call("pauses.remove", { id: pause.id });
      return "The pause has ended.";
    });
    list.reload();
  }

  return (
    <>
      <Head title="Pauses" />
      <Failure error={list.error} retry={list.reload} />
      <AddPause reload={list.reload} />
      {list.data?.length === 0 ? <Empty title="Nothing is paused." /> : null}
      {list.data?.length ? (
        <Table label="Pauses">
          <thead>
            <tr>
              <th>Now</th>
              <th>What it holds</th>
              <th>Reason</th>
              <th>By</th>
              <th>Until</th>
              <th>Actions</th>
            </tr>
          </thead>
          <tbody>
            {list.data.map((pause) => (
              <tr key={pause.id}>
                <td class="nowrap">
                  {pause.active ? <span class="strong">holds</span> : "not now"}
                </td>
                <td class="what">{heldBy(pause)}</td>
                <td class="what">{pause.reason}</td>
                <td>{pause.author ?? "–"}</td>
                <td class="nowrap">
                  {pause.cron ? `${pause.cron}, for ${duration(Number(pause.duration))}` : <When at={pause.until} />}
                </td>
                <td>
                  <Button
                    label={`End the pause: ${pause.reason}`}
                    refusal={may("pauses.remove") ? null : NO_RIGHT}
                    onClick={() => void end(pause)}
                  >
                    End
                  </Button>
                </td>
              </tr>
            ))}
          </tbody>
        </Table>
      ) : null}
    </>
  );
}

function heldBy(pause: Pause): string {
  const parts = [
    pause.app_name && `stream ${pause.app_name}`,
    pause.group && `group ${pause.group}`,
    pause.group_id && `group id ${pause.group_id}`,
    pause.method && `before ${pause.method}`,
    pause.owner && `tasks of ${pause.owner}`,
  ].filter(Boolean);
  return parts.join(", ") || "everything";
}

function AddPause({ reload }: { reload: () => void }) {
  const [key, setKey] = useState(0);
  if (!may("pauses.add")) return null;

  async function add(form: FormData): Promise<void> {
    const text = (name: string) => String(form.get(name) ?? "").trim() || null;
    const minutes = Number(text("minutes"));
    const until = minutes > 0 ? new Date(Date.now() + minutes * 60_000).toISOString() : null;
    const params = { reason: text("reason"), app_name: text("app_name"), group: text("group"), method: text("method"), until };
    const done = await attempt(async () => {
      await call("pauses.add", params);
      return "The pause has begun.";
    });
    if (done) setKey(key + 1);
    reload();
  }

  return (
    <details class="card">
      <summary>Add a pause</summary>
      <form
        key={key}
        class="row wrap"
        onSubmit={(event) => {
          event.preventDefault();
          void add(new FormData(event.currentTarget));
        }}
      >
        <label class="field grow">
          <span>Reason</span>
          <input name="reason" required maxLength={4096} />
        </label>
        <label class="field">
          <span>Stream</span>
          <input name="app_name" />
        </label>
        <label class="field">
          <span>Group</span>
          <input name="group" />
        </label>
        <label class="field">
          <span>Method, such as mail.*</span>
          <input name="method" />
        </label>
        <label class="field">
          <span>For minutes</span>
          <input name="minutes" type="number" min={1} />
        </label>
        <button type="submit" class="primary">
          Add the pause
        </button>
      </form>
    </details>
  );
}

function NotificationList() {
  const all = query.value.get("all") === "1";
  const list = usePages<Notification>("notifications.list", { conditions: all ? {} : { enabled: true } }, () => true);

  async function set(one: Notification, enabled: boolean): Promise<void> {
    await attempt(async () => {
      await call("notifications.update", { id: one.id, data: { enabled } });
      return enabled ? "Marked as unread." : "Dismissed.";
    });
    list.reload();
  }

  return (
    <>
      <Head title="Notifications" />
      <p>
        <label class="row">
          <input
            type="checkbox"
            checked={all}
            onChange={() => setQuery({ all: all ? null : "1", cursor: null })}
          />
          with those that were dismissed
        </label>
      </p>
      <Failure error={list.error} retry={list.reload} />
      {list.data?.data.length === 0 ? (
        <Empty title="There are no notifications.">Tasks with notify write one when a run ends.</Empty>
      ) : null}
      {list.data?.data.length ? (
        <Table label="Notifications">
          <thead>
            <tr>
              <th>Status</th>
              <th>Message</th>
              <th>When</th>
              <th>Actions</th>
            </tr>
          </thead>
          <tbody>
            {list.data.data.map((one) => (
              <tr key={one.id}>
                <td>
                  <StatusChip status={one.status} />
                </td>
                <td class="what">
                  <TaskLink id={one.task_id} />
                  <span class="line">{one.message}</span>
                </td>
                <td class="nowrap">
                  <When at={Date.parse(one.created) / 1000} />
                </td>
                <td>
                  <Button
                    label={`${one.enabled ? "Dismiss" : "Restore"} the notification of ${one.task_id}`}
                    refusal={may("notifications.update") ? null : NO_RIGHT}
                    onClick={() => void set(one, !one.enabled)}
                  >
                    {one.enabled ? "Dismiss" : "Restore"}
                  </Button>
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

function AuditList() {
  const list = usePages<AuditRecord>("audit.list", {}, () => true);
  return (
    <>
      <Head title="Audit" />
      <p class="muted">{list.data ? plural(list.data.count, "action") : ""}</p>
      <Failure error={list.error} retry={list.reload} />
      {list.data?.data.length === 0 ? <Empty title="Nobody has done anything yet." /> : null}
      {list.data?.data.length ? (
        <Table label="Audit">
          <thead>
            <tr>
              <th>When</th>
              <th>Who</th>
              <th>Action</th>
              <th>Target</th>
              <th>Details</th>
            </tr>
          </thead>
          <tbody>
            {list.data.data.map((one) => (
              <tr key={one.id}>
                <td class="nowrap">
                  <When at={one.at} />
                </td>
                <td>
                  {one.user_id ?? "–"}
                  <span class="line">{one.remote}</span>
                </td>
                <td>{one.action}</td>
                <td class="what">
                  {one.target !== null && one.action.startsWith("tasks.") ? (
                    <TaskLink id={one.target} />
                  ) : (
                    <span class="id">{one.target ?? "–"}</span>
                  )}
                </td>
                <td>
                  <details>
                    <summary aria-label={`Details of ${one.action}`}>Details</summary>
                    <Json value={one.data} label={`details of ${one.action}`} />
                  </details>
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

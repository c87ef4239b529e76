/** Which tasks…? */

import { useState } from "preact/hooks";
import { actOnAll, BULK_ACTIONS, bulkRefusal, type Conditions } from "../bulk";
import { CopyAs } from "../copy";
import { count } from "../format";
import { useQuery, type Query, type TaskEvent } from "../live";
import { go, query, setQuery, toggleIn, url } from "../router";
import { call, may, systemInfo } from "../rpc";
import type { Explanation, ListedTask, Page, Status, SystemView } from "../types";
import { Button, Empty, Failure, Head, StatusChip, TaskLink, Table, When } from "../ui";

const STATUSES: Status[] = ["FAILED", "EXECUTED", "QUEUED", "WAITING", "SUSPENDED", "IDLE", "FINISHED"];
const FIELDS: Record<string, string> = {
  description: "description",
  id: "id",
  group: "group",
  group_id: "group id",
  cron: "cron",
  executor_id: "executor",
  user_id: "owner",
  parent_id: "parent",
};
const SORTS: Record<string, string> = {
  "-created": "newest first",
  created: "oldest first",
  "-status_change": "last changed first",
  status_change: "longest unchanged first",
  next_run: "next run first",
  "-priority": "highest priority first",
  "-retries": "most retries first",
  id: "id",
};
const PAGE = 100;

/** The conditions that the address of the page stands for. */
export function conditionsOf(params: URLSearchParams): Conditions {
  const conditions: Conditions = {};
  const statuses = params.get("status")?.split(",").filter(Boolean) ?? [];
  if (statuses.length) conditions.status = statuses;
  const text = params.get("q");
  if (text) conditions[fieldOf(params)] = { like: `%${text}%` };
  for (const name of ["app_name", "status_reason"]) {
    const value = params.get(name);
    if (value) conditions[name] = value;
  }
  return conditions;
}

function fieldOf(params: URLSearchParams): string {
  const field = params.get("in") ?? "";
  return field in FIELDS ? field : "description";
}

export function Tasks() {
  const params = query.value;
  const conditions = conditionsOf(params);
  const sort = params.get("sort") ?? "-created";
  const cursor = params.get("cursor");
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  const page: Query<Page<ListedTask>> = useQuery(
    `tasks?${params}`,
    () => call<Page<ListedTask>>("tasks.list", { conditions, sort: [sort], cursor, limit: PAGE }),
    (event) => concerns(event, conditions, page.data),
  );
  const info = useQuery("tasks info", systemInfo, () => true, 15);
  const rows = page.data?.data ?? [];
  const shown = new Set(rows.map((one) => one.id));
  const chosen = new Set([...selected].filter((id) => shown.has(id)));
  return (
    <>
      <Head title="Tasks" />
      <Filters info={info.data} conditions={conditions} sort={sort} />
      <Failure error={page.error} retry={page.reload} />
      {page.data ? (
        <>
          <BulkBar
            page={page.data}
            conditions={conditions}
            chosen={chosen}
            clear={() => setSelected(new Set())}
            reload={page.reload}
          />
          {rows.length ? (
            <Grid rows={rows} chosen={chosen} select={setSelected} />
          ) : (
            <Nothing filtered={Object.keys(conditions).length > 0} />
          )}
          <nav class="row" aria-label="Pages">
            {cursor ? (
              <button type="button" onClick={() => setQuery({ cursor: null })}>
                First page
              </button>
            ) : null}
            {page.data.cursor ? (
              <button type="button" onClick={() => setQuery({ cursor: page.data?.cursor })}>
                Next page
              </button>
            ) : null}
          </nav>
          <CopyAs method="tasks.list" params={{ conditions, sort: [sort], limit: PAGE }} />
        </>
      ) : page.error ? null : (
        <p class="muted" role="status">
          Loading tasks…
        </p>
      )}
    </>
  );
}

function Nothing({ filtered }: { filtered: boolean }) {
  return filtered ? (
    <Empty title="No task matches these filters.">
      <a data-screen href={url("tasks")}>
        Remove all filters
      </a>
    </Empty>
  ) : (
    <Empty title="There are no tasks yet.">
      Create one with <code>kaiju-tasks task create</code>, a client, or <code>tasks.create</code>.
    </Empty>
  );
}

/** Whether an event can change a page: of a task on it, or of one that can come to it. */
function concerns(event: TaskEvent, conditions: Conditions, page: Page<ListedTask> | undefined): boolean {
  if (page?.data.some((one) => one.id === event.id)) return true;
  const statuses = conditions.status as string[] | undefined;
  const stream = conditions.app_name;
  return (!statuses || statuses.includes(event.status)) && (!stream || stream === event.app_name);
}

function Filters({ info, conditions, sort }: { info: SystemView | undefined; conditions: Conditions; sort: string }) {
  const params = query.value;
  const on = new Set((conditions.status as string[] | undefined) ?? []);
  const stream = params.get("app_name");
  const streams = Object.keys(info?.tasks ?? {});
  const reason = params.get("status_reason");
  const wide = matchMedia("(min-width: 901px)").matches;

  return (
    <div class="filters">
      <div class="row wrap statuses" role="group" aria-label="Status">
        {STATUSES.map((status) => (
          <button
            type="button"
            key={status}
            class="filter"
            aria-pressed={on.has(status)}
            onClick={() => toggleIn("status", status)}
          >
            <StatusChip status={status} />
            <span class="number">{info ? count(total(info, status, stream)) : "…"}</span>
          </button>
        ))}
        {reason ? (
          <button type="button" class="filter" aria-pressed="true" onClick={() => setQuery({ status_reason: null })}>
            reason {reason} ✕
          </button>
        ) : null}
      </div>
      <details class="more" open={wide || params.has("q")}>
      <summary>Search and order</summary>
      <form
        class="row wrap"
        role="search"
        aria-label="Filter tasks"
        onSubmit={(event) => {
          event.preventDefault();
          const form = new FormData(event.currentTarget);
          setQuery({ q: String(form.get("q")).trim(), in: String(form.get("in")), cursor: null });
        }}
      >
        <label class="field">
          <span>Stream</span>
          <select
            value={stream ?? ""}
            onChange={(event) => setQuery({ app_name: event.currentTarget.value, cursor: null })}
          >
            <option value="">all</option>
            {[...new Set([...streams, ...(stream ? [stream] : [])])].sort().map((name) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </select>
        </label>
        <label class="field">
          <span>Search in</span>
          <select name="in" value={fieldOf(params)}>
            {Object.entries(FIELDS).map(([name, title]) => (
              <option key={name} value={name}>
                {title}
              </option>
            ))}
          </select>
        </label>
        <label class="field grow">
          <span>Text</span>
          <input name="q" type="search" key={params.get("q") ?? ""} defaultValue={params.get("q") ?? ""} />
        </label>
        <button type="submit">Search</button>
        <label class="field">
          <span>Order</span>
          <select
            value={sort}
            onChange={(event) => setQuery({ sort: event.currentTarget.value, cursor: null })}
          >
            {Object.entries(SORTS).map(([name, title]) => (
              <option key={name} value={name}>
                {title}
              </option>
            ))}
          </select>
        </label>
      </form>
      </details>
    </div>
  );
}

function total(info: SystemView, status: Status, stream: string | null): number {
  const streams = stream ? [info.tasks[stream] ?? {}] : Object.values(info.tasks);
  return streams.reduce((sum, one) => sum + (one[status] ?? 0), 0);
}

interface BulkProps {
  page: Page<ListedTask>;
  conditions: Conditions;
  chosen: ReadonlySet<string>;
  clear: () => void;
  reload: () => void;
}

function BulkBar({ page, conditions, chosen, clear, reload }: BulkProps) {
  const all = chosen.size === 0;
  const matching = `${count(page.count)}${page.count_more ? "+" : ""}`;
  const filtered = Object.keys(conditions).length > 0;

  async function act(action: (typeof BULK_ACTIONS)[string]): Promise<void> {
    const done = await actOnAll(action, all ? conditions : { id: [...chosen] });
    if (done) clear();
    reload();
  }

  return (
    <div class="bulk row wrap">
      <p role="status" aria-live="polite">
        {all ? `${matching} ${page.count === 1 ? "task matches" : "tasks match"}` : `${count(chosen.size)} selected`}
      </p>
      {all && !filtered ? (
        <p class="muted">Choose a filter, or select tasks, to act on them.</p>
      ) : (
      <div class="row wrap" role="group" aria-label={all ? "Actions on all that match" : "Actions on the selection"}>
        {Object.entries(BULK_ACTIONS).map(([name, action]) => (
          <Button
            key={name}
            refusal={bulkRefusal(action) ?? (page.count === 0 ? "No task matches." : null)}
            onClick={() => void act(action)}
          >
            {action.title} {all ? "all" : "selected"}…
          </Button>
        ))}
        {all ? null : (
          <button type="button" class="quiet" onClick={clear}>
            Clear selection
          </button>
        )}
      </div>
      )}
    </div>
  );
}

interface GridProps {
  rows: ListedTask[];
  chosen: ReadonlySet<string>;
  select: (ids: ReadonlySet<string>) => void;
}

const SPEAKING: Status[] = ["QUEUED", "IDLE", "WAITING", "SUSPENDED"];

/** Why the tasks of this page do not run, by their ids. */
function useReasons(rows: ListedTask[]): ReadonlyMap<string, string> {
  const standing = rows.filter((one) => SPEAKING.includes(one.status));
  const state = standing.map((one) => `${one.id} ${one.status} ${one.status_reason} ${one.since}`).join("\n");
  const why = useQuery(`why ${state}`, async () => {
    if (standing.length === 0 || !may("tasks.m_explain")) return [];
    return call<Explanation[]>("tasks.m_explain", { ids: standing.map((one) => one.id) });
  });
  return new Map(why.data?.map((one) => [one.id, one.reasons[0]?.message ?? one.message]));
}

function Grid({ rows, chosen, select }: GridProps) {
  const reasons = useReasons(rows);
  function toggle(id: string): void {
    const next = new Set(chosen);
    if (!next.delete(id)) next.add(id);
    select(next);
  }
  const every = rows.every((one) => chosen.has(one.id));
  return (
    <Table label="Tasks" kind="stack">
      <thead>
        <tr>
          <th class="pick">
            <input
              type="checkbox"
              aria-label="Select all on this page"
              checked={every}
              onChange={() => select(new Set(every ? [] : rows.map((one) => one.id)))}
            />
          </th>
          <th>Status</th>
          <th>Task</th>
          <th class="wide">Stream</th>
          <th class="wide">Stage</th>
          <th class="wide">Retries</th>
          <th class="since">Since</th>
          <th class="wide">Next run</th>
        </tr>
      </thead>
      <tbody>
        {rows.map((task) => (
          <tr
            key={task.id}
            aria-selected={chosen.has(task.id)}
            onDblClick={() => go(url("task", { id: task.id }))}
          >
            <td class="pick">
              <input
                type="checkbox"
                aria-label={`Select ${task.id}`}
                checked={chosen.has(task.id)}
                onChange={() => toggle(task.id)}
              />
            </td>
            <td class="status">
              <StatusChip status={task.status} reason={task.status_reason} />
              {task.enabled ? null : <span class="tag">disabled</span>}
            </td>
            <td class="what">
              <TaskLink id={task.id} />
              {task.description ? <span class="line">{task.description}</span> : null}
              {reasons.has(task.id) ? <span class="line why">{reasons.get(task.id)}</span> : null}
              {task.error ? <span class="line bad-text">{task.error.message}</span> : null}
            </td>
            <td class="wide">{task.app_name}</td>
            <td class="wide number">
              {task.stage}/{task.stages}
            </td>
            <td class="wide number">
              {task.retries}
              {task.max_retries ? `/${task.max_retries}` : ""}
            </td>
            <td class="nowrap since">
              <When at={task.since} />
            </td>
            <td class="wide nowrap">
              <When at={task.status === "IDLE" ? task.next_run : null} />
            </td>
          </tr>
        ))}
      </tbody>
    </Table>
  );
}

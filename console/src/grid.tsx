/** The list of tasks as a table, with the columns that somebody has chosen. */

import { signal } from "@preact/signals";
import { Component, type ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { COLUMNS, columnsOf, columnsText, moved, orderOf, toggled, USUAL } from "./columns";
import { duration } from "./format";
import { format } from "./json";
import { useQuery } from "./live";
import { go, query, screen, setQuery, url } from "./router";
import { call, isLimited, may } from "./rpc";
import type { Explanation, ListedTask, Status } from "./types";
import { Move, StatusChip, Table, TaskLink, When } from "./ui";

/** What the table reads of each task. */
export const READ: readonly (keyof ListedTask)[] = [
  "id", "app_name", "status", "status_reason", "enabled", "description", "error", "stage", "stages", "method", "retries",
  "max_retries", "since", "next_run", "cron", "every", "timezone", "created", "priority", "exit_code", "group", "group_id",
  "executor_id", "user_id", "parent_id", "labels",
]; // prettier-ignore

const CELLS: Record<string, (task: ListedTask) => ComponentChildren> = {
  app_name: (task) => task.app_name,
  group: (task) => task.group,
  group_id: (task) => task.group_id,
  method: (task) => task.method,
  stage: (task) => `${task.stage}/${task.stages}`,
  retries: (task) => `${task.retries}${task.max_retries ? `/${task.max_retries}` : ""}`,
  since: (task) => <When at={task.since} />,
  next_run: (task) => <When at={task.status === "IDLE" ? task.next_run : null} />,
  schedule: (task) => task.cron ?? (task.every === null ? null : `every ${duration(Number(task.every))}`),
  created: (task) => <When at={Date.parse(task.created) / 1000} />,
  priority: (task) => task.priority,
  exit_code: (task) => task.exit_code,
  executor_id: (task) => task.executor_id,
  user_id: (task) => task.user_id,
  parent_id: (task) => (task.parent_id === null ? null : <TaskLink id={task.parent_id} />),
  labels: (task) => Object.entries(task.labels ?? {}).map(([key, value]) => <div key={key}>{`${key}: ${value}`}</div>),
};
const NUMBERS = ["stage", "retries", "priority", "exit_code"];
const TIMES = ["since", "next_run", "created"];

/** On a phone the usual columns make room, those that somebody has chosen do not. */
function styleOf(column: string): string {
  const place = column === "since" ? "since" : USUAL.includes(column) ? "wide" : "";
  const kind = NUMBERS.includes(column) ? "number" : TIMES.includes(column) ? "nowrap" : "break";
  return `${place} ${kind}`;
}

const NAME = "kaiju-columns";

const remembered = signal(localStorage.getItem(NAME));

/** The columns that are shown: those of the address, or those that were chosen last. The address shows the latter, too. */
export function useColumns(): string[] {
  const text = query.value.get("columns") ?? remembered.value;
  useEffect(() => {
    if (screen.value === "tasks" && !query.value.has("columns") && remembered.value !== null) setQuery({ columns: remembered.value }, true);
  });
  return columnsOf(text);
}

function choose(text: string | null): void {
  remembered.value = text;
  if (text === null) localStorage.removeItem(NAME);
  else localStorage.setItem(NAME, text);
  setQuery({ columns: text }, true);
}

export function ColumnMenu({ columns }: { columns: readonly string[] }) {
  const text = columnsText(columns);
  const others = Object.keys(COLUMNS).filter((column) => !columns.includes(column));
  return (
    <details class="menu-of">
      <summary class="button">Columns</summary>
      <div class="card" role="group" aria-label="Columns">
        {[...columns, ...others].map((column) => (
          <div key={column} class="row">
            <label class="row grow">
              <input type="checkbox" checked={columns.includes(column)} onChange={() => choose(toggled(text, column))} />
              {COLUMNS[column]}
            </label>
            {columns.includes(column) ? <Moves text={text} columns={columns} column={column} /> : null}
          </div>
        ))}
        {text === null ? null : (
          <button type="button" class="quiet" onClick={() => choose(null)}>
            Usual columns
          </button>
        )}
      </div>
    </details>
  );
}

function Moves({ text, columns, column }: { text: string | null; columns: readonly string[]; column: string }) {
  const at = columns.indexOf(column);
  const title = COLUMNS[column];
  const move = (side: string, sign: string, by: -1 | 1, end: boolean) => (
    <Move label={`Move ${title} to the ${side}`} sign={sign} kind="quiet small" end={end} move={() => choose(moved(text, column, by))} />
  );
  return (
    <>
      {move("left", "↑", -1, at === 0)}
      {move("right", "↓", 1, at === columns.length - 1)}
    </>
  );
}

/** The head of a column. A click sorts by it. */
function Heading({ column, title, sort, style }: { column: string; title: string; sort: string; style?: string }) {
  const order = orderOf(column, sort, isLimited());
  if (order === null) return <th class={style}>{title}</th>;
  return (
    <th class={style} aria-sort={order.now === "none" ? undefined : order.now}>
      <button type="button" class="sort" onClick={() => setQuery({ sort: order.next, cursor: null })}>
        {title}
        <span aria-hidden="true">{{ ascending: " ▲", descending: " ▼", none: "" }[order.now]}</span>
      </button>
    </th>
  );
}

interface GridProps {
  rows: ListedTask[];
  columns: readonly string[];
  /** As in the address. */
  sort: string;
  chosen: ReadonlySet<string>;
  /** Takes the ids that are chosen then, from those that are chosen now. */
  select: (change: (ids: ReadonlySet<string>) => ReadonlySet<string>) => void;
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

export function Grid({ rows, columns, sort, chosen, select }: GridProps) {
  const reasons = useReasons(rows);
  const every = rows.every((one) => chosen.has(one.id));
  const names = columns.join();
  return (
    <Table
      label="Tasks"
      heads={[
        <th class="pick">
          <input
            type="checkbox"
            aria-label="Select all on this page"
            checked={every}
            onChange={() => select(() => new Set(every ? [] : rows.map((one) => one.id)))}
          />
        </th>,
        <Heading column="status" title="Status" sort={sort} />,
        <Heading column="id" title="Task" sort={sort} />,
        ...columns.map((column) => (
          <Heading key={column} column={column} title={COLUMNS[column] ?? column} sort={sort} style={styleOf(column)} />
        )),
      ]}
    >
      {rows.map((task) => (
        <Row
          key={task.id}
          task={task}
          columns={names}
          chosen={chosen.has(task.id)}
          reason={reasons.get(task.id)}
          select={select}
        />
      ))}
    </Table>
  );
}

interface RowProps {
  task: ListedTask;
  /** Separated by commas. */
  columns: string;
  chosen: boolean;
  reason: string | undefined;
  select: GridProps["select"];
}

/** A row. The list is asked again up to once a second, and most rows are as they were. */
class Row extends Component<RowProps> {
  override shouldComponentUpdate(next: RowProps): boolean {
    const { task, columns, chosen, reason } = this.props;
    return columns !== next.columns || chosen !== next.chosen || reason !== next.reason || !isSame(task, next.task);
  }

  override render({ task, columns, chosen, reason, select }: RowProps) {
    return (
      <tr aria-selected={chosen} onDblClick={() => go(url("task", { id: task.id }))}>
        <td class="pick">
          <input
            type="checkbox"
            aria-label={`Select ${task.id}`}
            checked={chosen}
            onChange={() =>
              select((ids) => {
                const next = new Set(ids);
                if (!next.delete(task.id)) next.add(task.id);
                return next;
              })
            }
          />
        </td>
        <td class="status">
          <StatusChip status={task.status} reason={task.status_reason} />
          {task.enabled ? null : <span class="tag">disabled</span>}
        </td>
        <td class="what">
          <TaskLink id={task.id} />
          {task.description ? <span class="line">{task.description}</span> : null}
          {reason === undefined ? null : <span class="line why">{reason}</span>}
          {task.error ? <span class="line bad-text">{task.error.message}</span> : null}
        </td>
        {columns
          .split(",")
          .filter(Boolean)
          .map((column) => (
            <td key={column} class={styleOf(column)}>
              {CELLS[column]?.(task)}
            </td>
          ))}
      </tr>
    );
  }
}

/** Whether two answers show the same task. */
function isSame(one: ListedTask, other: ListedTask): boolean {
  return READ.every((name) => {
    const [a, b] = [one[name], other[name]];
    return a === b || (typeof a === "object" && typeof b === "object" && format(a) === format(b));
  });
}

/** Which tasks…? */

import { untracked } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import { actOnAll, BULK_ACTIONS, bulkRefusal, type Conditions } from "../bulk";
import { CopyAs } from "../copy";
import { FilterBox, FilterChips } from "../filterbar";
import { conditionsOf, keep, learnFrom } from "../filters";
import { count, now } from "../format";
import { ColumnMenu, Grid, READ, useColumns } from "../grid";
import { useQuery, type Query } from "../live";
import { AGAIN_SECONDS, Pages } from "../pages";
import { listOf, query, setQuery, toggleIn, url } from "../router";
import { call } from "../rpc";
import { SavedViews } from "../savedviews";
import type { TaskEvent } from "../socket";
import type { ListedTask, Page, Status, SystemView } from "../types";
import { Button, Empty, Failure, Folded, Head, NoTasks, say, StatusChip } from "../ui";
import { viewQuery } from "../views";
import { inUtc } from "../zone";

const STATUSES: Status[] = ["FAILED", "EXECUTED", "QUEUED", "WAITING", "SUSPENDED", "IDLE", "FINISHED"];
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
const known = new Map<string, Set<string>>();

export function Tasks() {
  const params = query.value;
  const conditions = conditionsAt(params);
  const sort = params.get("sort") ?? "-created";
  const cursor = params.get("cursor");
  const columns = useColumns();
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  const page: Query<Page<ListedTask>> = useQuery(
    `tasks?${viewQuery(params, [])}&${cursor}&${inUtc()}`,
    () => call<Page<ListedTask>>("tasks.list", { conditions: conditionsAt(params), sort: [sort], cursor, limit: PAGE, columns: READ }),
    (event) => concerns(event, conditions, page.data),
    AGAIN_SECONDS,
  );
  useEffect(() => {
    // Whoever sees only some streams cannot sort by the parent, even if the address of somebody else does.
    if (page.error?.data.field !== "sort.0") return;
    say(page.error.message);
    setQuery({ sort: null, cursor: null }, true);
  }, [page.error]);
  const info = useQuery("tasks info", () => call<SystemView>("system.info"), () => true, 15);
  const rows = page.data?.data ?? [];
  learnFrom(rows, known);
  for (const stream of Object.keys(info.data?.tasks ?? {})) keep(known, "app_name", stream);
  const shown = new Set(rows.map((one) => one.id));
  const chosen = new Set([...selected].filter((id) => shown.has(id)));
  return (
    <>
      <Head title="Tasks" />
      <Filters info={info.data} sort={sort} columns={columns} />
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
            <Grid rows={rows} columns={columns} sort={sort} chosen={chosen} select={setSelected} />
          ) : (
            <Nothing filtered={Object.keys(conditions).length > 0} />
          )}
          <Pages cursor={page.data.cursor} />
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

/** The conditions of an address at this moment: some are lengths of time up to now. */
function conditionsAt(params: URLSearchParams): Conditions {
  return conditionsOf(params, untracked(now), inUtc());
}

function Nothing({ filtered }: { filtered: boolean }) {
  return filtered ? (
    <Empty title="No task matches these filters.">
      <a data-screen href={url("tasks")}>
        Remove all filters
      </a>
    </Empty>
  ) : (
    <NoTasks />
  );
}

/** Whether an event can change a page: of a task on it, or of one that can come to it. */
function concerns(event: TaskEvent, conditions: Conditions, page: Page<ListedTask> | undefined): boolean {
  if (page?.data.some((one) => one.id === event.id)) return true;
  const statuses = conditions.status as string[] | undefined;
  const stream = conditions.app_name;
  return (!statuses || statuses.includes(event.status)) && (typeof stream !== "string" || stream === event.app_name);
}

function Filters({ info, sort, columns }: { info: SystemView | undefined; sort: string; columns: string[] }) {
  const params = query.value;
  const on = listOf("status");
  const stream = params.get("app_name");

  const sorts = sort in SORTS ? SORTS : { ...SORTS, [sort]: sort.replace(/^-(.*)/, "$1, largest first") };
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
      </div>
      <FilterChips />
      <Folded title="Filters, order, columns, views">
        <div class="row wrap bottom" role="search" aria-label="Filter tasks">
          <FilterBox known={known} />
          <label class="field">
            <span>Order</span>
            <select value={sort} onChange={(event) => setQuery({ sort: event.currentTarget.value, cursor: null })}>
              {Object.entries(sorts).map(([name, title]) => (
                <option key={name} value={name}>
                  {title}
                </option>
              ))}
            </select>
          </label>
          <ColumnMenu columns={columns} />
        </div>
        <SavedViews columns={columns} />
      </Folded>
    </div>
  );
}

function total(info: SystemView, status: Status, stream: string | null): number {
  const streams = stream && !stream.includes("%") ? [info.tasks[stream] ?? {}] : Object.values(info.tasks);
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

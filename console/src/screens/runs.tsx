/** What ran, and how did it end? */

import { untracked } from "@preact/signals";
import { RunChart } from "../chart";
import { conditionOf } from "../filters";
import { count, now } from "../format";
import { lengthText } from "../lengths";
import { Needs, Pages, usePages } from "../pages";
import { listOf, query, setQuery, toggleIn, url } from "../router";
import type { ListedRun, Page } from "../types";
import { Empty, Failure, Head, StatusChip, Table, When } from "../ui";
import { Word } from "../word";

const OUTCOMES = ["FAILED", "CANCELLED", "MISSED", "FINISHED"];
const FIELDS: Record<string, string> = {
  task_id: "task",
  app_name: "stream",
  executor_id: "executor",
  "error.type": "error type",
  group: "group",
  job_id: "run",
};
const SPANS: Record<string, [string, number | null]> = {
  hour: ["the last hour", 3600],
  day: ["the last day", 86_400],
  week: ["the last 7 days", 7 * 86_400],
  all: ["all stored runs", null],
};
const STEP_SECONDS = 60;

/** The conditions that the address of the page stands for. */
export function runConditions(params: URLSearchParams, now: number): Record<string, unknown> {
  const conditions: Record<string, unknown> = {};
  const outcomes = params.get("outcome")?.split(",").filter(Boolean) ?? [];
  if (outcomes.length) conditions.status = outcomes;
  const text = params.get("q");
  const field = params.get("in") ?? "task_id";
  if (text && field in FIELDS) conditions[field] = conditionOf(text);
  const span = SPANS[params.get("span") ?? "day"]?.[1] ?? null;
  if (span !== null) conditions.ended_at = { ge: Math.floor((now - span) / STEP_SECONDS) * STEP_SECONDS };
  return conditions;
}

export const Runs = () => (
  <Needs method="runs.list" title="Runs">
    {() => <List />}
  </Needs>
);

function List() {
  const params = query.value;
  const conditions = runConditions(params, untracked(now));
  const list = usePages<ListedRun>("runs.list", { conditions }, (event) => ENDS.has(event.event));
  return (
    <>
      <Head title="Runs" />
      <Filters />
      <Failure error={list.error} retry={list.reload} />
      {list.data?.data.length === 0 ? (
        <Empty title="No run matches these filters.">Only runs that have ended are listed here. The Tasks screen shows open runs.</Empty>
      ) : null}
      {list.data?.data.length ? <Found page={list.data} /> : null}
      <Pages cursor={list.data?.cursor} />
    </>
  );
}

const ENDS = new Set(["task.finished", "task.failed"]);

function Filters() {
  const params = query.value;
  const on = listOf("outcome");
  return (
    <div class="filters">
      <div class="row wrap statuses" role="group" aria-label="Outcome">
        {OUTCOMES.map((outcome) => (
          <button
            type="button"
            key={outcome}
            class="filter"
            aria-pressed={on.has(outcome)}
            onClick={() => toggleIn("outcome", outcome)}
          >
            <StatusChip status={outcome} />
          </button>
        ))}
      </div>
      <form
        class="row wrap bottom"
        role="search"
        aria-label="Filter runs"
        onSubmit={(event) => {
          event.preventDefault();
          const form = new FormData(event.currentTarget);
          setQuery({ q: String(form.get("q")).trim(), in: String(form.get("in")), cursor: null });
        }}
      >
        <label class="field">
          <span>Ended in</span>
          <select
            value={params.get("span") ?? "day"}
            onChange={(event) => setQuery({ span: event.currentTarget.value, cursor: null })}
          >
            {Object.entries(SPANS).map(([name, [title]]) => (
              <option key={name} value={name}>
                {title}
              </option>
            ))}
          </select>
        </label>
        <label class="field">
          <span>Search in</span>
          <select name="in" value={params.get("in") ?? "task_id"}>
            {Object.entries(FIELDS).map(([name, title]) => (
              <option key={name} value={name}>
                {title}
              </option>
            ))}
          </select>
        </label>
        <Word name="q" title="Exact text (% matches anything)" kind="field grow" />
        <button type="submit">Search</button>
      </form>
    </div>
  );
}

function Found({ page }: { page: Page<ListedRun> }) {
  return (
    <>
      <p role="status" aria-live="polite">
        {count(page.count)}
        {page.count_more ? "+" : ""} {page.count === 1 ? "run matches" : "runs match"}
      </p>
      <RunChart runs={page.data} />
      <Table
        label="Runs"
        heads={[
          "Outcome",
          "Task",
          ["Stream", "wide"],
          "Ended",
          ["Waited", "wide number"],
          ["Took", "wide number"],
          ["Executor", "wide"],
        ]}
      >
        {page.data.map((run, at) => (
          <tr key={run.job_id ?? at}>
            <td class="status">
              <StatusChip status={run.status} />
              {run.retries ? <span class="tag">{run.retries} retries</span> : null}
            </td>
            <td class="what">
              <a data-screen class="id" href={url("task", { id: run.task_id, run: run.job_id })}>
                {run.task_id}
              </a>
              {run.error ? (
                <span class="line bad-text">
                  {run.error.type}: {run.error.message}
                </span>
              ) : run.note ? (
                <span class="line">{run.note}</span>
              ) : null}
            </td>
            <td class="wide">{run.app_name}</td>
            <td class="nowrap since">
              <When at={run.ended_at ?? run.scheduled_at} />
            </td>
            <td class="wide number nowrap">{lengthText(run.queued_at, run.started_at)}</td>
            <td class="wide number nowrap">{lengthText(run.started_at, run.ended_at)}</td>
            <td class="wide">{run.executor_id ?? "–"}</td>
          </tr>
        ))}
      </Table>
    </>
  );
}

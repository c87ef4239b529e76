/** What is it doing, why, and what was before? */

import { useEffect } from "preact/hooks";
import { ACTIONS, METHODS, NO_RIGHT, perform, refusal, type Action } from "../actions";
import { Answer } from "../answer";
import { RunChart } from "../chart";
import { Comparison } from "../compare";
import { CopyAs } from "../copy";
import { cronWords } from "../cronwords";
import { duration } from "../format";
import { inTurn, lengthText } from "../lengths";
import { useQuery } from "../live";
import { RunLog } from "../log";
import { Inbox, Relatives } from "../relations";
import { go, query, setQuery, url } from "../router";
import { call, may } from "../rpc";
import { Definition, TaskAudit, Times } from "../taskparts";
import type { Command, Explanation, Run, StageRecord, Task as TaskData } from "../types";
import { Versions } from "../versions";
import { attempt, Button, confirm, Copy, Empty, Facts, Failure, Head, Json, StatusChip, Table, TaskLink, When } from "../ui";

const RUNS = 50;

export function Task() {
  const id = query.value.get("id") ?? "";
  const task = useQuery(`task ${id}`, () => call<TaskData>("tasks.get", { id }), id, 30);
  if (task.data) return <Known key={id} task={task.data} reload={task.reload} error={task.error} />;
  const missing = task.error?.code === 404;
  return (
    <>
      <Head title={missing ? "Task not found" : "Task"} />
      {missing ? (
        <Empty title={`The task ${id} does not exist.`}>It was deleted, or your token does not allow you to see it.</Empty>
      ) : (
        <Failure error={task.error} retry={task.reload} />
      )}
      {task.error ? null : (
        <p class="muted" role="status">
          Loading the task…
        </p>
      )}
    </>
  );
}

function Known({ task, reload, error }: { task: TaskData; reload: () => void; error: Query["error"] }) {
  const id = task.id;
  const job = query.value.get("run") ?? task.job_id;
  const state = `${task.status} ${task.status_reason} ${task.stage} ${task.retries} ${task.job_id}`;
  const why = useQuery(`explain ${id}`, async () => ({ ...(await call<Explanation>("tasks.explain", { id })), of: state }), id, 10);
  const stale = why.data !== undefined && why.data.of !== state;
  useEffect(() => {
    if (stale) why.reload();
  }, [stale, state]);
  const runs = useQuery(`runs ${id}`, () => call<Run[]>("tasks.runs", { id, limit: RUNS }), id);
  const stages = useQuery(
    `stages ${job ?? ""}`,
    () => (job === null ? Promise.resolve([]) : call<StageRecord[]>("tasks.stages", { job_id: job }).then(inTurn)),
    id,
  );
  const current = job === task.job_id;
  const compared = comparedRuns();
  return (
    <>
      <Head title={task.description ? firstLine(task.description) : id}>
        <div class="row wrap sub">
          <StatusChip status={task.status} reason={task.status_reason} />
          {task.enabled ? null : <span class="tag">disabled</span>}
          <code class="id">{id}</code>
          <Copy text={id} what="the id" />
        </div>
      </Head>
      <Failure error={error} retry={reload} />
      <p
        class={`explain${task.error && current ? " short" : ""}${stale ? " muted" : ""}`}
        aria-live="polite"
        data-testid="explain"
      >
        {why.data?.message ?? why.error?.message ?? "…"}
      </p>
      {why.data && why.data.reasons.length > 1 ? (
        <ul class="reasons">
          {why.data.reasons.slice(1).map((one) => (
            <li key={one.code}>{one.message}</li>
          ))}
        </ul>
      ) : null}
      <Actions task={task} reload={reload} />
      {task.error && current ? <Problem task={task} reload={reload} /> : null}
      <Answer task={task} reload={reload} />
      <Strip task={task} records={current ? (stages.data ?? []) : []} />
      <section aria-labelledby="stages">
        <h2 id="stages">{current ? "Stages" : "Stages of an earlier run"}</h2>
        {current ? null : (
          <p>
            <button type="button" onClick={() => setQuery({ run: null })}>
              Show the last run
            </button>
          </p>
        )}
        <Failure error={stages.error} retry={stages.reload} />
        {task.commands.map((command, index) => (
          <Stage
            key={`${job} ${index}`}
            task={task}
            index={index}
            command={command}
            records={(stages.data ?? []).filter((one) => one.stage === index)}
            current={current}
          />
        ))}
      </section>
      {job !== null && may("logs.list") ? (
        <RunLog
          key={job}
          id={id}
          job={job}
          commands={task.commands}
          open={current && task.status !== "FINISHED" && task.status !== "FAILED"}
        />
      ) : null}
      <Times records={stages.data ?? []} />
      <section aria-labelledby="runs">
        <h2 id="runs">Runs</h2>
        <Failure error={runs.error} retry={runs.reload} />
        <RunChart runs={runs.data ?? []} />
        {runs.data?.length ? <Runs runs={runs.data} shown={job} /> : <p class="muted">No runs yet.</p>}
      </section>
      {compared.length === 2 ? (
        <Comparison commands={task.commands} first={compared[1] ?? ""} second={compared[0] ?? ""} />
      ) : null}
      <Inbox task={task} />
      <Relatives task={task} />
      <About task={task} />
      {may("tasks.versions") ? <Versions id={id} rev={Number(task.rev)} /> : null}
      <TaskAudit id={id} />
      <Definition task={task} />
      <details class="card">
        <summary>Raw JSON</summary>
        <Json value={task} label="the task as JSON" />
      </details>
    </>
  );
}

type Query = { error: import("../rpc").RpcError | undefined };

function firstLine(text: string): string {
  return text.split("\n", 1)[0] || text;
}

const OFFERED: Action[] = ["reset", "run_now", "suspend", "resume", "cancel", "delete"];

function Actions({ task, reload }: { task: TaskData; reload: () => void }) {
  async function act(action: Action): Promise<void> {
    const rule = ACTIONS[action];
    const consent = await confirm({
      title: `${rule.title}?`,
      body: (
        <>
          <p>{rule.effect}</p>
          <p class="break">
            Task <code>{task.id}</code>
          </p>
          <CopyAs method={METHODS[action]} params={{ id: task.id }} />
        </>
      ),
      action: rule.title,
      danger: rule.danger,
      why: true,
    });
    if (consent === null) return;
    const done = await attempt(async () => {
      await perform(action, task.id, consent.reason);
      return `${rule.done}.`;
    });
    if (done && action === "delete") go(url("tasks"));
    else reload();
  }

  return (
    <div class="row wrap actions" role="group" aria-label="Actions">
      {OFFERED.map((action) => (
        <Button
          key={action}
          refusal={refusal(action, task)}
          kind={ACTIONS[action].danger ? "danger" : undefined}
          onClick={() => void act(action)}
        >
          {ACTIONS[action].title}
        </Button>
      ))}
      {may("tasks.create") ? (
        <a data-screen class="button" href={url("create", { from: task.id })}>
          New task like this
        </a>
      ) : null}
      {may("tasks.update") ? (
        <a data-screen class="button" href={url("edit", { id: task.id })}>
          Edit
        </a>
      ) : null}
    </div>
  );
}

/** The error first: what, where, and what to do about it. */
function Problem({ task, reload }: { task: TaskData; reload: () => void }) {
  const error = task.error;
  if (!error) return null;
  const command = error.stage === null ? undefined : task.commands[error.stage];
  const failed = task.status === "FAILED";

  async function restart(stage: number): Promise<void> {
    const consent = await confirm({
      title: `Restart from stage ${stage + 1}?`,
      body: <p>A new run begins at this stage. The results of earlier stages are copied.</p>,
      action: "Restart from here",
      why: true,
    });
    if (consent === null) return;
    await attempt(async () => {
      await call("tasks.restart_from", { id: task.id, stage, reason: consent.reason });
      return "A new run begins.";
    });
    reload();
  }

  return (
    <section class="card bad" aria-labelledby="problem">
      <h2 id="problem">
        {failed ? "Why it failed" : "The last attempt failed"}: {error.type}
      </h2>
      <pre class="message" tabIndex={0} role="group" aria-label="Error message">
        {error.message}
      </pre>
      <div class="row wrap">
        {command && error.stage !== null ? (
          <a href={`#stage-${error.stage}`}>
            Stage {error.stage + 1}: {command.name ?? command.method}
          </a>
        ) : null}
        {failed && error.stage !== null ? (
          <Button
            refusal={may("tasks.restart_from") ? null : NO_RIGHT}
            onClick={() => void restart(error.stage ?? 0)}
          >
            Restart from this stage…
          </Button>
        ) : null}
        <Copy text={error.message} what="the error message" />
      </div>
      {error.data === null || error.data === undefined ? null : (
        <details>
          <summary>Details</summary>
          <Json value={error.data} label="the error details" />
        </details>
      )}
    </section>
  );
}

const HOOKS: Record<string, string> = { _TIMER_: "wait", _MESSAGE_: "message", _TASKS_: "tasks" };

function titleOf(command: Command): string {
  return command.name ?? HOOKS[command.method] ?? command.method;
}

/** How a stage stands: by its last attempt, and where the task is. */
function stateOf(task: TaskData, index: number, last: StageRecord | undefined, current: boolean): string {
  if (current && index === task.stage && ["EXECUTED", "WAITING", "SUSPENDED"].includes(task.status)) {
    return task.status;
  }
  if (current && index >= task.stage && task.error?.stage !== index) return "IDLE";
  return last?.outcome ?? (current && index < task.stage ? "FINISHED" : "IDLE");
}

function Strip({ task, records }: { task: TaskData; records: StageRecord[] }) {
  return (
    <nav aria-label="Pipeline" class="scroll">
      <ol class="strip">
        {task.commands.map((command, index) => {
          const own = records.filter((one) => one.stage === index);
          const last = own[own.length - 1];
          const state = stateOf(task, index, last, true);
          return (
            <li key={index}>
              <a href={`#stage-${index}`} class={`box is-${state.toLowerCase()}`}>
                <span class="strong">
                  {index + 1}. {titleOf(command)}
                </span>
                <StatusChip status={state} />
                <span class="muted">
                  {last?.started_at && last.ended_at
                    ? duration(Number(last.ended_at) - Number(last.started_at))
                    : command.method}
                  {own.length > 1 ? ` · attempt ${own.length}` : ""}
                </span>
              </a>
            </li>
          );
        })}
      </ol>
    </nav>
  );
}

interface StageProps {
  task: TaskData;
  index: number;
  command: Command;
  records: StageRecord[];
  current: boolean;
}

function Stage({ task, index, command, records, current }: StageProps) {
  const last = records[records.length - 1];
  const state = stateOf(task, index, last, current);
  const failed = state === "FAILED" || (current && task.error?.stage === index);
  const result = last?.outcome === "FINISHED" ? last.result : current ? task.result[index] : undefined;
  return (
    <details class="card stage" id={`stage-${index}`} open={failed}>
      <summary>
        <span class="strong">
          {index + 1}. {titleOf(command)}
        </span>{" "}
        <StatusChip status={state} />
        <span class="muted"> {command.method}</span>
      </summary>
      {records.length ? <Attempts records={records} /> : <p class="muted">No attempt has ended.</p>}
      {last?.error && !(current && last.error.message === task.error?.message) ? (
        <pre class="message" tabIndex={0} role="group" aria-label={`Error of stage ${index + 1}`}>
          {last.error.message}
        </pre>
      ) : null}
      <div class="pair">
        <div>
          <h3>Parameters</h3>
          <Json value={command.params ?? {}} label={`the parameters of stage ${index + 1}`} />
        </div>
        {result === undefined ? null : (
          <div>
            <h3>Result</h3>
            <Json value={result} label={`the result of stage ${index + 1}`} />
          </div>
        )}
      </div>
      {command.condition ? (
        <>
          <h3>Runs only if</h3>
          <Json value={command.condition} label={`the condition of stage ${index + 1}`} />
        </>
      ) : null}
    </details>
  );
}

function Attempts({ records }: { records: StageRecord[] }) {
  return (
    <Table
      label={`Attempts of stage ${(records[0]?.stage ?? 0) + 1}`}
      heads={["Attempt", "Outcome", "Waited", "Ran", "Ended", "Executor"]}
    >
      {records.map((one, at) => (
        <tr key={at}>
          <td class="number">{one.attempt}</td>
          <td class="status">
            <StatusChip status={one.outcome} />
            {one.rescued ? <span class="tag">rescued</span> : null}
          </td>
          <td class="nowrap">{lengthText(one.queued_at, one.started_at)}</td>
          <td class="nowrap">{lengthText(one.started_at, one.ended_at)}</td>
          <td class="nowrap">
            <When at={one.ended_at} />
          </td>
          <td>{one.executor_id ?? "–"}</td>
        </tr>
      ))}
    </Table>
  );
}

/** The ids of the runs that are compared, in the address of the page. */
function comparedRuns(): string[] {
  return query.value.get("compare")?.split(",").filter(Boolean) ?? [];
}

function compare(job: string): void {
  const runs = comparedRuns();
  const next = runs.includes(job) ? runs.filter((one) => one !== job) : [...runs, job].slice(-2);
  setQuery({ compare: next.join(",") }, true);
}

function Runs({ runs, shown }: { runs: Run[]; shown: string | null }) {
  const compared = comparedRuns();
  return (
    <Table label="List of runs" heads={["Outcome", "Started", "Waited", "Took", "Stages", "Run", "Compare", "Note"]}>
      {runs.map((run, at) => (
        <tr key={run.job_id ?? at} aria-current={run.job_id === shown ? "true" : undefined}>
          <td class="status">
            <StatusChip status={run.status} />
          </td>
          <td class="nowrap since">
            <When at={run.started_at ?? run.scheduled_at ?? run.queued_at} />
          </td>
          <td class="nowrap">{lengthText(run.queued_at, run.started_at)}</td>
          <td class="nowrap">{lengthText(run.started_at, run.ended_at)}</td>
          <td class="number">
            {run.stage}/{run.stages}
          </td>
          <td class="full">
            {run.job_id === null ? (
              "–"
            ) : (
              <button
                type="button"
                class="quiet"
                title={run.job_id}
                onClick={() => setQuery({ run: run.job_id })}
              >
                Show {run.job_id.slice(0, 8)}
              </button>
            )}
          </td>
          <td>
            {run.job_id === null || run.ended_at === null ? null : (
              <input
                type="checkbox"
                aria-label={`Compare run ${run.job_id.slice(0, 8)}`}
                checked={compared.includes(run.job_id)}
                onChange={() => run.job_id !== null && compare(run.job_id)}
              />
            )}
          </td>
          <td class="what">
            {run.error ? <span class="line bad-text">{run.error.message}</span> : (run.note ?? "")}
          </td>
        </tr>
      ))}
    </Table>
  );
}

function scheduleText({ cron, every }: TaskData): string | null {
  if (cron === null) return every === null ? null : `every ${duration(Number(every))}`;
  const words = cronWords(cron);
  return words === null ? cron : `${words} (${cron})`;
}

function About({ task }: { task: TaskData }) {
  const facts: [string, preact.ComponentChildren][] = [
    ["Stream", task.app_name],
    ["Created", <When at={Date.parse(task.created) / 1000} />],
    ["Next run", task.next_run === null ? null : <When at={task.next_run} />],
    ["Schedule", scheduleText(task)],
    ["Zone", task.timezone],
    ["Executor", task.executor_id],
    ["Retries", `${task.retries} of ${task.max_retries}`],
    ["Priority", String(task.priority)],
    ["Group", task.group],
    ["Group id", task.group_id],
    ["Owner", task.user_id],
    ["Parent", task.parent_id === null ? null : <TaskLink id={task.parent_id} />],
    ["Next task", task.next_task === null ? null : <TaskLink id={task.next_task} />],
  ];
  return (
    <section aria-labelledby="facts">
      <h2 id="facts">About this task</h2>
      <Facts facts={facts} />
      {task.description && task.description.includes("\n") ? <p class="pre">{task.description}</p> : null}
    </section>
  );
}

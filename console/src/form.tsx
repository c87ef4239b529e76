/** The form of a task: its stages, its schedule, and its other fields. */

import { useState } from "preact/hooks";
import { change, commands, data, set, text } from "./draft";
import { fieldsOf, isObject, templateWords, type Field } from "./fields";
import { absolute } from "./format";
import { Input } from "./inputs";
import { useQuery, type Query } from "./live";
import { call, contract, may } from "./rpc";
import { useSettled } from "./settled";
import type { CommandView } from "./types";
import { Move } from "./ui";

/** What stands for a secret that is not shown. */
const MASK = "***";

/** The parts of the form. A field of NewTask that is in none of them stands among the others. */
const PARTS: [string, string[]][] = [
  ["What", ["id", "app_name", "description", "group", "group_id", "labels"]],
  ["If it fails", ["max_retries", "retry_delay", "retry_backoff", "retry_max_delay", "restart_policy", "on_failure"]],
  ["Limits", ["max_exec_timeout", "max_queue_time", "priority", "concurrency", "unique"]],
  ["Afterwards", ["notify", "webhook", "next_task"]],
  ["Data", ["kws", "meta"]],
];
const WHEN = ["next_run", "delay", "cron", "every", "timezone", "misfire", "jitter"];
const ALWAYS_OPEN = "What";

const HOOKS: Record<string, { doc: string; params: object }> = {
  _TIMER_: {
    doc: "Wait for some time. No executor is occupied while it waits.",
    params: { properties: { timer: { type: "number", description: "seconds" } }, required: ["timer"] },
  },
  _MESSAGE_: {
    doc: "Wait for a message, for example from a person.",
    params: { properties: { name: { type: "string" }, default: { description: "the result if max_timeout expires" } } },
  },
  _TASKS_: {
    doc: "Create tasks, or name existing ones, and wait until they have ended.",
    params: {
      properties: {
        create: { type: "array", items: { type: "object" }, description: "tasks to create" },
        ids: { type: "array", items: { type: "string" }, description: "existing tasks" },
        foreach: { type: "string", description: "a template that results in a list" },
        task: { type: "object", description: "the task to create for each element" },
        mode: { enum: ["all", "any"] },
        on_error: { enum: ["fail", "continue"] },
      },
    },
  },
};

/** The fields of a task that a client sets. */
export function taskFields(): Field[] {
  return fieldsOf(contract.value.components.schemas.NewTask, contract.value).map((field) =>
    TEXTS.has(field.name) ? { ...field, widget: "text", type: "text" } : field,
  );
}

/** Fields that accept numbers, too, and store them as text. */
const TEXTS = new Set(["group", "group_id"]);

/** What is used for absent fields, as JSON. */
export function fallbacks(): Record<string, string> {
  return Object.fromEntries(taskFields().map((field) => [field.name, field.fallback]));
}

export interface Validation {
  valid: boolean;
  errors: { field: string | null; message: string }[];
  warnings: string[];
}

export function useCatalogue(): Query<CommandView[]> {
  return useQuery(
    "catalogue",
    () => (may("executors.commands") ? call<CommandView[]>("executors.commands") : Promise.resolve([])),
    undefined,
    30,
  );
}

/** What the manager says of the draft, when it has not been changed for a moment. */
export function useValidation(): Validation | undefined {
  const now = text.value;
  const settled = useSettled(now);
  const task = data.value;
  const known = useQuery(`validate ${settled}`, async (): Promise<Validation> => {
    if (task === null) return { valid: false, errors: [], warnings: [] };
    return call<Validation>("tasks.validate", { data: unmasked(task) });
  });
  return settled === now ? known.data : undefined;
}

/** Without the secret of a webhook that is not shown: `tasks.update` keeps it, and a new task cannot have it. */
function unmasked(task: Record<string, unknown>): Record<string, unknown> {
  const { webhook } = task;
  if (!isObject(webhook) || webhook.secret !== MASK) return task;
  const { secret: _, ...rest } = webhook;
  return { ...task, webhook: rest };
}

export function Verdict({ check }: { check: Validation | undefined }) {
  const empty = commands().length === 0;
  return (
    <div role="status" aria-live="polite" class="verdict">
      {check === undefined ? <p class="muted">Checking…</p> : null}
      {check && !empty && check.errors.length ? (
        <ul class="reasons bad-text">
          {check.errors.map((one, at) => (
            <li key={at}>{one.message}</li>
          ))}
        </ul>
      ) : null}
      {empty ? <p class="muted">Add a stage to begin.</p> : null}
      {check?.warnings.map((warning) => (
        <p key={warning} class="warning">
          {warning}
        </p>
      ))}
      {check?.valid ? <p class="good-text">✓ The manager would accept this task.</p> : null}
    </div>
  );
}

interface FormProps {
  catalogue: CommandView[];
  problems: Map<string, string>;
}

/** @param fixed - fields that cannot be changed here */
export function Form({ catalogue, problems, fixed = [] }: FormProps & { fixed?: string[] }) {
  const task = data.value ?? {};
  const known = taskFields().filter((field) => !fixed.includes(field.name));
  const named = new Set([...PARTS.flatMap(([, names]) => names), ...WHEN, "commands"]);
  const others = known.filter((field) => !named.has(field.name)).map((field) => field.name);
  return (
    <>
      <Stages catalogue={catalogue} problems={problems} />
      <When problems={problems} known={known} edited={fixed.includes("next_run")} />
      {[...PARTS, ["Other", others] as [string, string[]]].map(([title, names]) => (
        <Part
          key={title}
          title={title}
          fields={names.flatMap((name) => known.find((field) => field.name === name) ?? [])}
          task={task}
          problems={problems}
          streams={streamsOf(catalogue)}
        />
      ))}
    </>
  );
}

function streamsOf(catalogue: CommandView[]): string[] {
  return [...new Set(catalogue.map((one) => one.app_name))].sort();
}

interface PartProps {
  title: string;
  fields: Field[];
  task: Record<string, unknown>;
  problems: Map<string, string>;
  streams: string[];
}

function Part({ title, fields, task, problems, streams }: PartProps) {
  if (fields.length === 0) return null;
  const used = fields.some((field) => task[field.name] !== undefined);
  return (
    <details class="card part" open={title === ALWAYS_OPEN || used}>
      <summary class="strong">{title}</summary>
      <div class="grid">
        {fields.map((field) => (
          <Input
            key={field.name}
            field={field}
            path={`data.${field.name}`}
            value={task[field.name]}
            change={(value) => change([field.name], value)}
            problem={problemAt(problems, `data.${field.name}`)}
            templates={field.name === "app_name" ? streams : null}
          />
        ))}
      </div>
    </details>
  );
}

/** The problem of a field, or of a part of it. */
function problemAt(problems: Map<string, string>, path: string): string | undefined {
  for (const [field, message] of problems) if (field === path || field.startsWith(`${path}.`)) return message;
  return undefined;
}

function Stages({ catalogue, problems }: FormProps) {
  const list = commands();
  const stream = typeof data.value?.app_name === "string" ? data.value.app_name : "default";
  const offered = catalogue.filter((one) => one.app_name === stream);
  const add = (method: string): void => change(["commands", list.length], { method });
  return (
    <section aria-labelledby="make-stages">
      <h2 id="make-stages">Stages</h2>
      <ol class="make-stages">
        {list.map((command, at) => (
          <li key={at}>
            <Stage
              at={at}
              command={isObject(command) ? command : {}}
              offered={offered}
              problems={problems}
              last={at === list.length - 1}
            />
          </li>
        ))}
      </ol>
      <div class="row wrap bottom">
        <Choose offered={offered} add={add} />
        <button type="button" onClick={() => add("_TIMER_")}>
          Wait for some time
        </button>
        <button type="button" onClick={() => add("_MESSAGE_")}>
          Wait for a message
        </button>
        <button type="button" onClick={() => add("_TASKS_")}>
          Run other tasks
        </button>
      </div>
    </section>
  );
}

function Choose({ offered, add }: { offered: CommandView[]; add: (method: string) => void }) {
  return (
    <label class="field">
      <span>Add a command</span>
      <select
        value=""
        onChange={(event) => {
          const method = event.currentTarget.value;
          event.currentTarget.value = "";
          if (method) add(method === OTHER ? "" : method);
        }}
      >
        <option value="">choose…</option>
        {offered.map((one) => (
          <option key={one.method} value={one.method}>
            {one.method}
          </option>
        ))}
        <option value={OTHER}>other (enter its name)</option>
      </select>
    </label>
  );
}

const OTHER = "\n";

const STAGE_FIELDS = ["name", "max_timeout", "condition"];

interface StageProps {
  at: number;
  command: Record<string, unknown>;
  offered: CommandView[];
  problems: Map<string, string>;
  last: boolean;
}

function Stage({ at, command, offered, problems, last }: StageProps) {
  const method = typeof command.method === "string" ? command.method : "";
  const known = HOOKS[method] ?? offered.find((one) => one.method === method);
  const words = templateWords(commands(), at, data.value?.kws);
  const params = isObject(command.params) ? command.params : {};
  const fields = fieldsOf(known?.params);
  const names = new Set(fields.map((field) => field.name));
  for (const name of Object.keys(params)) if (!names.has(name)) fields.push(free(name));
  const path = `data.commands.${at}`;
  const all = fieldsOf(contract.value.components.schemas.TaskCommand, contract.value);
  const own = STAGE_FIELDS.flatMap((name) => all.find((field) => field.name === name) ?? []);

  function move(by: number): void {
    const list = [...commands()];
    const [one] = list.splice(at, 1);
    list.splice(at + by, 0, one);
    change(["commands"], list);
  }
  function mover(side: string, sign: string, by: number, end: boolean) {
    const label = (stage: number): string => `Move stage ${stage} ${side}`;
    return <Move label={label(at + 1)} after={label(at + 1 + by)} sign={sign} end={end} move={() => move(by)} />;
  }
  function setParam(name: string, value: unknown): void {
    change(["commands", at, "params", name], value);
  }

  return (
    <fieldset class="card">
      <legend>Stage {at + 1}</legend>
      <div class="row wrap bottom">
        <label class="field grow">
          <span>Method</span>
          <input
            value={method}
            list={`methods-${at}`}
            autocomplete="off"
            spellcheck={false}
            aria-invalid={problemAt(problems, `${path}.method`) !== undefined}
            onInput={(event) => change(["commands", at, "method"], event.currentTarget.value)}
          />
          <datalist id={`methods-${at}`}>
            {[...offered.map((one) => one.method), ...Object.keys(HOOKS)].map((name) => (
              <option key={name} value={name} />
            ))}
          </datalist>
        </label>
        <div class="row" role="group" aria-label={`Stage ${at + 1}`}>
          {mover("up", "↑", -1, at === 0)}
          {mover("down", "↓", 1, last)}
          <button
            type="button"
            class="danger"
            aria-label={`Remove stage ${at + 1}`}
            onClick={() => change(["commands", at], undefined)}
          >
            ✕
          </button>
        </div>
      </div>
      {known?.doc ? <p class="muted pre">{known.doc}</p> : null}
      {known === undefined && method !== "" ? (
        <p class="muted">No connected executor has this command: its parameters are not known.</p>
      ) : null}
      <div class="grid">
        {fields.map((field) => (
          <Input
            key={`${method} ${field.name}`}
            field={field}
            path={`${path}.params.${field.name}`}
            value={params[field.name]}
            change={(value) => setParam(field.name, value)}
            problem={problemAt(problems, `${path}.params.${field.name}`)}
            templates={words}
          />
        ))}
      </div>
      {known === undefined ? <AddParam add={(name) => setParam(name, "")} /> : null}
      <details open={STAGE_FIELDS.some((name) => command[name] !== undefined)}>
        <summary>Name, time limit, condition</summary>
        <div class="grid">
          {own.map((field) => (
            <Input
              key={field.name}
              field={field}
              path={`${path}.${field.name}`}
              value={command[field.name]}
              change={(value) => change(["commands", at, field.name], value)}
              problem={problemAt(problems, `${path}.${field.name}`)}
            />
          ))}
        </div>
      </details>
    </fieldset>
  );
}

/** A parameter of which nothing is known. */
function free(name: string): Field {
  return { name, widget: "json", type: "any JSON value", help: "", required: false, options: [], fallback: "" };
}

function AddParam({ add }: { add: (name: string) => void }) {
  const [name, setName] = useState("");
  return (
    <div class="row wrap">
      <label class="field">
        <span>Name of a parameter</span>
        <input value={name} autocomplete="off" onInput={(event) => setName(event.currentTarget.value)} />
      </label>
      <button
        type="button"
        disabled={name.trim() === ""}
        onClick={() => {
          add(name.trim());
          setName("");
        }}
      >
        Add a parameter
      </button>
    </div>
  );
}

const STARTS: Record<string, string> = {
  "": "now",
  delay: "after some seconds",
  next_run: "at a time",
  cron: "by a cron expression",
  every: "at an interval",
};
const SCHEDULES: Record<string, string> = { "": "none", cron: "cron expression", every: "interval" };
const FIRST: Record<string, unknown> = { delay: 60, next_run: "", cron: "0 8 * * 1-5", every: 3600 };

interface WhenProps {
  problems: Map<string, string>;
  known: Field[];
  /** Whether the task exists: only its schedule can be changed. */
  edited: boolean;
}

function When({ problems, known, edited }: WhenProps) {
  const task = data.value ?? {};
  const start = ["cron", "every", "next_run", "delay"].find((name) => task[name] !== undefined) ?? "";
  const names = start === "" ? [] : [start, ...(start === "delay" ? [] : ["timezone"])];
  if (start === "cron" || start === "every") names.push("misfire", "jitter");
  const { cron, timezone } = task;

  function choose(name: string): void {
    const next = { ...task };
    for (const one of ["cron", "every", "next_run", "delay"]) delete next[one];
    if (name === "" || name === "delay") delete next.timezone;
    if (name !== "cron" && name !== "every") {
      delete next.misfire;
      delete next.jitter;
    }
    if (name !== "") next[name] = FIRST[name];
    set(next);
  }

  return (
    <section class="card part" aria-labelledby="make-when">
      <h2 id="make-when">When</h2>
      <label class="field narrow">
        <span>{edited ? "Schedule" : "Starts"}</span>
        <select value={start} onChange={(event) => choose(event.currentTarget.value)}>
          {Object.entries(edited ? SCHEDULES : STARTS).map(([name, title]) => (
            <option key={name} value={name}>
              {title}
            </option>
          ))}
        </select>
      </label>
      <div class="grid">
        {names.map((name) => {
          const field = known.find((one) => one.name === name);
          return field ? (
            <Input
              key={name}
              field={name === "next_run" ? { ...field, widget: "text", type: "UNIX seconds or ISO-8601" } : field}
              path={`data.${name}`}
              value={task[name]}
              change={(value) => change([name], value)}
              problem={problemAt(problems, `data.${name}`)}
              templates={name === "timezone" ? ZONES : null}
            />
          ) : null;
        })}
      </div>
      {typeof cron === "string" && cron !== "" && may("cron.preview") ? (
        <Fires cron={cron} timezone={typeof timezone === "string" && timezone !== "" ? timezone : "UTC"} />
      ) : null}
    </section>
  );
}

const ZONES = Intl.supportedValuesOf("timeZone");

/** The next fires of a schedule. */
function Fires({ cron, timezone }: { cron: string; timezone: string }) {
  const fires = useQuery(`make fires ${cron} ${timezone}`, () => call<number[]>("cron.preview", { cron, timezone, n: 5 }));
  if (fires.error) return <p class="bad-text">{fires.error.message}</p>;
  return (
    <div>
      <h3>Next fires</h3>
      <ol class="ids">
        {(fires.data ?? []).map((at) => (
          <li key={String(at)}>{absolute(Number(at))}</li>
        ))}
      </ol>
    </div>
  );
}

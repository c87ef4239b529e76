/** A call as text for other places: a shell, or Python. Pure. */

import { Exact, format } from "./json";

export interface Call {
  method: string;
  params: Record<string, unknown>;
}

/** Quoted for a POSIX shell. */
export function quoted(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'"'"'`)}'`;
}

/** @param token - whether the manager asks for one */
export function asCurl({ method, params }: Call, url: string, token: boolean): string {
  const body = format({ jsonrpc: "2.0", id: 1, method, params });
  const parts = [`curl ${quoted(`${url}rpc`)}`, "-H 'Content-Type: application/json'"];
  if (token) parts.push('-H "Authorization: Bearer $KAIJU_TOKEN"');
  return [...parts, `--data-raw ${quoted(body)}`].join(" \\\n  ");
}

export function asPython({ method, params }: Call, url: string, token: boolean): string {
  const values = Object.entries(params).filter(([, value]) => value !== undefined);
  const named = values.every(([name]) => /^[a-z_][a-z0-9_]*$/.test(name));
  const inner = named
    ? values.map(([name, value]) => `${name}=${literal(value)}`).join(", ")
    : `**${literal(Object.fromEntries(values))}`;
  const lines = ["import asyncio"];
  if (token) lines.push("import os");
  lines.push(
    "",
    "from kaiju_tasks import Client",
    "",
    "",
    "async def main() -> None:",
    `    async with Client(${literal(url.replace(/\/$/, ""))}${token ? ', token=os.environ["KAIJU_TOKEN"]' : ""}) as client:`,
    `        print(await client.${method}(${inner}))`,
    "",
    "",
    "asyncio.run(main())",
    "",
  );
  return lines.join("\n");
}

/** A JSON value as Python. */
export function literal(value: unknown): string {
  if (value === null || value === undefined) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (value instanceof Exact || typeof value === "number") return String(value);
  if (typeof value === "string") return JSON.stringify(value).replace(/[\u007f-\uffff]/g, escaped);
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  return `{${Object.entries(value as object)
    .map(([name, one]) => `${literal(name)}: ${literal(one)}`)
    .join(", ")}}`;
}

/** Readable letters stay; what JSON and Python would write differently, or nobody can see, does not. */
function escaped(character: string): string {
  if (/[\p{L}\p{N}\p{P}\p{S}]/u.test(character)) return character;
  const code = character.charCodeAt(0);
  if (code >= 0xd800 && code <= 0xdfff) return character; // half of a pair
  return `\\u${code.toString(16).padStart(4, "0")}`;
}

const ACTIONS: Record<string, string> = {
  "tasks.reset": "task reset",
  "tasks.run_now": "task run-now",
  "tasks.suspend": "task suspend",
  "tasks.resume": "task resume",
  "tasks.cancel": "task cancel",
  "tasks.delete": "task delete",
  "tasks.get": "task show",
  "tasks.explain": "task explain",
  "tasks.runs": "task runs",
  "tasks.list": "task list",
  "tasks.m_reset": "task reset",
  "tasks.m_run_now": "task run-now",
  "tasks.m_suspend": "task suspend",
  "tasks.m_resume": "task resume",
  "tasks.m_cancel": "task cancel",
  "tasks.m_delete": "task delete",
  "tasks.m_restart_from": "task restart-from",
  "runs.list": "runs list",
};

/** The command line; null if it has no such command. */
export function asCli({ method, params }: Call): string | null {
  if (method === "tasks.create") {
    return `kaiju-tasks task create - <<'TASK'\n${format(params.data, 2)}\nTASK`;
  }
  const name = ACTIONS[method];
  if (name === undefined) return null;
  const words = ["kaiju-tasks", ...name.split(" ")];
  const { id, conditions, dry_run, rate, reason, sort, limit, stage, ...rest } = params;
  if (Object.values(rest).some((value) => value !== null && value !== undefined)) return null;
  if (typeof id === "string") words.push("--", quoted(id));
  if (conditions !== undefined && conditions !== null) words.push(...whereOf(conditions as Record<string, unknown>));
  if (method === "tasks.m_restart_from") words.push(stage === "failed" ? "--failed" : `--stage ${stage}`);
  if (Array.isArray(sort) && sort.length) words.push(`--sort=${quoted(sort.join(","))}`);
  if (limit !== undefined && limit !== null) words.push(`--limit=${limit}`);
  if (dry_run === true) words.push("--dry-run");
  if (rate !== undefined && rate !== null) words.push(`--rate=${rate}`);
  const before = typeof reason === "string" ? [`--reason=${quoted(reason)}`] : [];
  words.splice(1 + name.split(" ").length, 0, ...before); // options stand before "--"
  return words.join(" ");
}

function whereOf(conditions: Record<string, unknown>): string[] {
  return Object.entries(conditions).map(([column, value]) => {
    const statuses = Array.isArray(value) && value.every((one) => typeof one === "string");
    if (column === "status" && statuses) return `--status=${quoted((value as string[]).join(",").toLowerCase())}`;
    return `--where=${quoted(`${column}=${format(value)}`)}`;
  });
}

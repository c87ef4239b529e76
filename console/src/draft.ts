/** The task that is being made: its JSON text is the only copy. */

import { computed, signal } from "@preact/signals";
import { changed, isObject } from "./fields";
import { format, parse } from "./json";
import type { Task } from "./types";

export type Data = Record<string, unknown>;

const EMPTY = '{\n  "commands": []\n}';

/** It stays while the page is open, also when another screen is shown. */
export const text = signal(EMPTY);

const reading = computed((): { data: Data } | { problem: string } => {
  try {
    const value = parse(text.value);
    return isObject(value) ? { data: value } : { problem: "A task is an object." };
  } catch (error) {
    return { problem: (error as SyntaxError).message };
  }
});

/** The task; null while its text is no JSON. */
export const data = computed(() => ("data" in reading.value ? reading.value.data : null));
export const problem = computed(() => ("problem" in reading.value ? reading.value.problem : null));

export function set(value: Data): void {
  text.value = format(value, 2);
}

/** Change one place of the task; undefined removes it. */
export function change(path: (string | number)[], value: unknown): void {
  if (data.value) set(changed(data.value, path, value) as Data);
}

let origin = "";

/** Begin with something, once: what was changed since is not lost when the screen is shown again. */
export function begin(from: string, value: Data): void {
  if (origin === from) return;
  origin = from;
  set(value);
}

export function clear(): void {
  origin = "";
  text.value = EMPTY;
}

export function commands(): unknown[] {
  const list = data.value?.commands;
  return Array.isArray(list) ? list : [];
}

const COPIED = [
  "app_name", "commands", "kws", "cron", "timezone", "every", "misfire", "jitter", "max_exec_timeout", "max_queue_time",
  "max_retries", "restart_policy", "retry_delay", "retry_backoff", "retry_max_delay", "priority", "concurrency", "unique",
  "notify", "next_task", "description", "meta", "group", "group_id", "labels", "on_failure",
] as const;

/** What of a task defines another one like it; not its id, and not its webhook, whose secret is not shown.
 *
 * @param fallbacks - what is used for absent fields, as JSON
 */
export function like(task: Task, fallbacks: Record<string, string>): Data {
  const all = task as unknown as Data;
  const copy: Data = {};
  for (const name of COPIED) if (isSet(all[name]) && format(all[name]) !== fallbacks[name]) copy[name] = all[name];
  copy.commands = task.commands.map((command) => Object.fromEntries(Object.entries(command).filter(([, one]) => isSet(one))));
  return copy;
}

function isSet(value: unknown): boolean {
  if (value === null || value === undefined) return false;
  return !(isObject(value) && Object.keys(value).length === 0);
}

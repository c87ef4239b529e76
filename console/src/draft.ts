/** The tasks that are being made or edited: the JSON text of each is its only copy. */

import { computed, signal } from "@preact/signals";
import { changed, isObject } from "./fields";
import { format, parse } from "./json";
import type { Task } from "./types";

export type Data = Record<string, unknown>;

const EMPTY = '{\n  "commands": []\n}';

/** By what they began with. They stay while the page is open, also when another screen is shown. */
const texts = signal<Readonly<Record<string, string>>>({});
const current = signal("");

/** The text of the draft that is shown. */
export const text = computed(() => texts.value[current.value] ?? EMPTY);

const reading = computed((): { data: Data } | { problem: string } => {
  try {
    const value = parse(text.value);
    return isObject(value) ? { data: value } : { problem: "A task must be a JSON object." };
  } catch (error) {
    return { problem: (error as SyntaxError).message };
  }
});

/** The task; null while its text is no JSON. */
export const data = computed(() => ("data" in reading.value ? reading.value.data : null));
export const problem = computed(() => ("problem" in reading.value ? reading.value.problem : null));

export function write(to: string): void {
  texts.value = { ...texts.value, [current.value]: to };
}

export function set(value: Data): void {
  write(format(value, 2));
}

/** Change one place of the task; undefined removes it. */
export function change(path: (string | number)[], value: unknown): void {
  if (data.value) set(changed(data.value, path, value) as Data);
}

/** Show a draft; one that was not shown before begins with a value. */
export function begin(from: string, value: Data): void {
  current.value = from;
  if (!Object.hasOwn(texts.value, from)) set(value);
}

/** Forget the draft that is shown. */
export function clear(): void {
  texts.value = Object.fromEntries(Object.entries(texts.value).filter(([from]) => from !== current.value));
}

export function commands(): unknown[] {
  const list = data.value?.commands;
  return Array.isArray(list) ? list : [];
}

/** What defines a task, without what is as if it were absent.
 *
 * @param wanted - which of its fields
 * @param fallbacks - what is used for absent fields, as JSON; its names are those of the fields
 */
export function like(task: Task, wanted: (name: string) => boolean, fallbacks: Record<string, string>): Data {
  const all = task as unknown as Data;
  const copy: Data = {};
  for (const [name, fallback] of Object.entries(fallbacks)) {
    if (MOMENTS.has(name) || !wanted(name) || !isSet(all[name])) continue;
    if (format(all[name]) !== fallback) copy[name] = all[name];
  }
  copy.commands = task.commands.map((command) =>
    Object.fromEntries(Object.entries(command).filter(([, one]) => isSet(one))),
  );
  return copy;
}

/** They belong to a run, or to the call that created the task. */
const MOMENTS = new Set(["next_run", "delay"]);

function isSet(value: unknown): boolean {
  if (value === null || value === undefined) return false;
  return !(isObject(value) && Object.keys(value).length === 0);
}

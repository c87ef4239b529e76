/** Filters of tasks: how they stand in the address, what they ask of the manager, and what can be suggested. */

import { EXAMPLES, RANGED, range } from "./ranges";
import type { ListedTask } from "./types";

/** A column that must have a value, or match it where it has `%`. */
export interface Filter {
  column: string;
  value: string;
}

/** A filter, or the beginning of one that a value is still missing for. */
export interface Suggestion {
  column: string;
  value: string | null;
  text: string;
}

/** Values that are worth suggesting, by column. */
export type Known = ReadonlyMap<string, ReadonlySet<string>>;

const LABEL = "label.";
const LABEL_KEY = /^label\.[a-z0-9][a-z0-9_.-]{0,62}$/;
const WORDS = "description";
const KNOWN_MOST = 500;

/** The columns that a filter can have, and what each is called; `label.KEY` is one, too. Words are searched in descriptions. */
export const FILTERS: Record<string, string> = {
  app_name: "stream",
  group: "group",
  group_id: "group id",
  method: "method",
  "error.type": "error",
  status_reason: "reason",
  executor_id: "executor",
  user_id: "owner",
  parent_id: "parent",
  id: "id",
  job_id: "run",
  cron: "cron",
  ...Object.fromEntries(Object.entries(RANGED).map(([column, [title]]) => [column, title])),
};

/** What a column is called in a filter. */
export function titleOf(column: string): string {
  return FILTERS[column] ?? column;
}

function columnOf(title: string): string | undefined {
  const word = title.trim().toLowerCase();
  if (LABEL_KEY.test(word)) return word;
  return Object.keys(FILTERS).find((column) => column === word || FILTERS[column] === word);
}

/** The filters that an address has, apart from the statuses and the words. */
export function filtersOf(params: URLSearchParams): Filter[] {
  return [...params]
    .filter(([column, value]) => value !== "" && (Object.hasOwn(FILTERS, column) || LABEL_KEY.test(column)))
    .map(([column, value]) => ({ column, value }));
}

/** The words that an address asks for, and the column that has them. */
export function wordsOf(params: URLSearchParams): Filter | null {
  const value = params.get("q");
  const field = params.get("in") ?? "";
  return value ? { column: Object.hasOwn(FILTERS, field) ? field : WORDS, value } : null;
}

/** The conditions of `tasks.list` that an address stands for.
 *
 * @param now - what lengths of time are counted from, UNIX seconds
 * @param utc - whether dates are in UTC
 */
export function conditionsOf(params: URLSearchParams, now: number, utc = false): Record<string, unknown> {
  const conditions: Record<string, unknown> = {};
  const statuses = params.get("status")?.split(",").filter(Boolean) ?? [];
  if (statuses.length) conditions.status = statuses;
  const words = wordsOf(params);
  if (words) conditions[words.column] = { like: `%${words.value}%` };
  for (const { column, value } of filtersOf(params)) {
    const kind = RANGED[column]?.[1];
    // The manager refuses what is no range: to leave it out would act on more tasks.
    if (kind !== undefined) conditions[column] = range(kind, value, now, utc) ?? value;
    else conditions[column] = conditionOf(value);
  }
  return conditions;
}

/** The condition for a value. `%` stands for any text; `_` is itself, as in values that have no `%`. */
export function conditionOf(value: string): string | { like: string } {
  return value.includes("%") ? { like: value.replace(/(?<!\\)_/g, "\\_") } : value;
}

/** A filter's text for just this value. */
export function exact(value: string): string {
  return value.includes("%") ? value.replace(/[\\%_]/g, "\\$&") : value;
}

/** What somebody has typed: `column:value`, or `column > value` of a number or a time; null for words. */
export function parse(text: string): Filter | null {
  const [, name = "", sign = ""] = /^([^:<>=]*)([:<>=]|$)/.exec(text) ?? [];
  const column = sign === "" ? undefined : columnOf(name);
  if (column === undefined || (sign !== ":" && !(column in RANGED))) return null;
  const value = text.slice(sign === ":" ? name.length + 1 : name.length).trim();
  return value === "" ? null : { column, value };
}

/** What is wrong with a filter, in words; null if nothing is. */
export function problemOf({ column, value }: Filter): string | null {
  const [title, kind] = RANGED[column] ?? [];
  if (kind === undefined || range(kind, value, 0, true) !== null) return null;
  return `${title} can be ${EXAMPLES[kind].join(", ")}.`;
}

/** What fits to what is typed, the columns first as long as none is named. */
export function suggest(typed: string, known: Known, most: number): Suggestion[] {
  const text = typed.trim().toLowerCase();
  const at = typed.indexOf(":");
  const named = at < 0 ? undefined : columnOf(typed.slice(0, at));
  if (named !== undefined) return valuesOf(named, typed.slice(at + 1).trim().toLowerCase(), known).slice(0, most);
  const columns = [...Object.keys(FILTERS), ...[...known.keys()].filter((column) => column.startsWith(LABEL))]
    .filter((column) => titleOf(column).includes(text))
    .map((column) => ({ column, value: null, text: `${titleOf(column)}:` }));
  const values = text ? [...known.keys()].flatMap((column) => valuesOf(column, text, known)) : [];
  return [...columns, ...values].slice(0, most);
}

/** The known values of a column that have a text, those first that begin with it. */
function valuesOf(column: string, text: string, known: Known): Suggestion[] {
  const kind = RANGED[column]?.[1];
  const found = [...(kind ? EXAMPLES[kind] : (known.get(column) ?? []))].filter((value) => value.toLowerCase().includes(text));
  const late = (value: string): number => (value.toLowerCase().startsWith(text) ? 0 : 1);
  return found
    .sort((a, b) => late(a) - late(b) || (a < b ? -1 : 1))
    .map((value) => ({ column, value: exact(value), text: `${titleOf(column)}: ${value}` }));
}

/** Keep the values of a page of tasks for suggestions. */
export function learnFrom(rows: readonly ListedTask[], known: Map<string, Set<string>>): void {
  for (const row of rows) {
    keep(known, "app_name", row.app_name);
    keep(known, "group", row.group);
    keep(known, "group_id", row.group_id);
    keep(known, "method", row.method);
    keep(known, "error.type", row.error?.type);
    keep(known, "status_reason", row.status_reason);
    keep(known, "executor_id", row.executor_id);
    keep(known, "user_id", row.user_id);
    for (const [key, value] of Object.entries(row.labels ?? {})) keep(known, LABEL + key, value);
  }
}

/** Keep a value for suggestions. */
export function keep(known: Map<string, Set<string>>, column: string, value: string | null | undefined): void {
  if (!value) return;
  const values = known.get(column) ?? new Set();
  if (values.size < KNOWN_MOST) values.add(value);
  known.set(column, values);
}

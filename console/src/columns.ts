/** The columns of the list of tasks: which there are, and which are shown. */

/** The columns that can be shown beside the status and the task, and their titles, in their order. */
export const COLUMNS: Record<string, string> = {
  app_name: "Stream",
  group: "Group",
  group_id: "Group id",
  method: "Method",
  stage: "Stage",
  retries: "Retries",
  since: "Since",
  next_run: "Next run",
  schedule: "Schedule",
  created: "Created",
  priority: "Priority",
  exit_code: "Exit code",
  executor_id: "Executor",
  user_id: "Owner",
  parent_id: "Parent",
  labels: "Labels",
};

/** The columns that are shown unless others are chosen. */
export const USUAL: readonly string[] = ["app_name", "stage", "retries", "since", "next_run"];

/** The text that stands for no column. */
export const NO_COLUMN = "none";

/** The columns that a text names, in its order; without a text the usual ones. */
export function columnsOf(text: string | null): string[] {
  if (!text) return [...USUAL];
  return [...new Set(text.split(","))].filter((column) => Object.hasOwn(COLUMNS, column));
}

/** The text for some columns; null for the usual ones in their usual order. */
export function columnsText(columns: readonly string[]): string | null {
  const text = columns.join(",") || NO_COLUMN;
  return text === USUAL.join(",") ? null : text;
}

/** The text with a column more, the last, or without it if it is shown. */
export function toggled(text: string | null, column: string): string | null {
  const chosen = columnsOf(text);
  return columnsText(chosen.includes(column) ? chosen.filter((one) => one !== column) : [...chosen, column]);
}

/** The text with a column one place before or after where it is. */
export function moved(text: string | null, column: string, by: -1 | 1): string | null {
  const chosen = columnsOf(text);
  const at = chosen.indexOf(column);
  const other = chosen[at + by];
  if (at < 0 || other === undefined) return columnsText(chosen);
  chosen[at + by] = column;
  chosen[at] = other;
  return columnsText(chosen);
}

/** What the manager sorts by for a column of the table, and whether the largest are the first at the first click. */
const SORTS: Record<string, [key: string, largest: boolean]> = {
  status: ["status", false],
  id: ["id", false],
  app_name: ["app_name", false],
  group: ["group", false],
  group_id: ["group_id", false],
  method: ["method", false],
  stage: ["stage", true],
  retries: ["retries", true],
  since: ["status_change", true],
  next_run: ["next_run", false],
  schedule: ["cron", false],
  created: ["created", true],
  priority: ["priority", true],
  exit_code: ["exit_code", true],
  executor_id: ["executor_id", false],
  user_id: ["user_id", false],
  parent_id: ["parent_id", false],
};

export interface Order {
  /** How the table is sorted by the column now. */
  now: "ascending" | "descending" | "none";
  /** What a click on its head sorts by. */
  next: string;
}

/** @param sort - as in the address: a column, with "-" before it for the largest first
 * @param limited - whether the caller does not see all streams: the order of parents would reveal others
 * @returns null for a column by which nothing is sorted
 */
export function orderOf(column: string, sort: string, limited: boolean): Order | null {
  const [key, largest] = SORTS[column] ?? [];
  if (key === undefined || (limited && key === "parent_id")) return null;
  if (sort === key) return { now: "ascending", next: `-${key}` };
  if (sort === `-${key}`) return { now: "descending", next: key };
  return { now: "none", next: largest ? `-${key}` : key };
}

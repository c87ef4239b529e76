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

/** The columns that a text names, in the order of the list; without a text the usual ones. */
export function columnsOf(text: string | null): string[] {
  if (!text) return [...USUAL];
  const named = new Set(text.split(","));
  return Object.keys(COLUMNS).filter((column) => named.has(column));
}

/** The text for some columns; null for the usual ones. */
export function columnsText(columns: Iterable<string>): string | null {
  const chosen = new Set(columns);
  const text = Object.keys(COLUMNS).filter((column) => chosen.has(column)).join(",") || NO_COLUMN;
  return text === USUAL.join(",") ? null : text;
}

/** The text with a column more, or without it if it is shown. */
export function toggled(text: string | null, column: string): string | null {
  const chosen = new Set(columnsOf(text));
  if (!chosen.delete(column)) chosen.add(column);
  return columnsText(chosen);
}

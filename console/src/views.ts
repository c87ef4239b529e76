/** Saved views: names for addresses of the list of tasks. */

import { NO_COLUMN } from "./columns";

export interface View {
  name: string;
  /** The query of its address, without the place in the list. */
  query: string;
}

export const NAME_MOST = 60;
const MOST = 50;

/** The views that a text of the browser's storage has. What is not a view is left out. */
export function readViews(text: string | null): View[] {
  let found: unknown;
  try {
    found = JSON.parse(text || "[]");
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return []; // somebody else has written it
  }
  return Array.isArray(found) ? found.filter(isView).slice(0, MOST) : [];
}

function isView(one: unknown): one is View {
  const { name, query } = (one ?? {}) as Partial<View>;
  return typeof name === "string" && name !== "" && typeof query === "string";
}

/** What of a query a view keeps, in an order of its own: not the page that is shown, but the columns.
 *
 * @param columns - the columns that are shown, whether the query names them or not
 */
export function viewQuery(params: URLSearchParams, columns: readonly string[]): string {
  const kept = new URLSearchParams(params);
  kept.delete("cursor");
  kept.set("columns", columns.join(",") || NO_COLUMN);
  kept.sort();
  return kept.toString();
}

/** With one more view, the last; it replaces one of the same name. The oldest are dropped beyond 50. */
export function withView(views: readonly View[], name: string, query: string): View[] {
  const short = name.trim().slice(0, NAME_MOST);
  return short ? [...withoutView(views, short), { name: short, query }].slice(-MOST) : [...views];
}

export function withoutView(views: readonly View[], name: string): View[] {
  return views.filter((one) => one.name !== name);
}

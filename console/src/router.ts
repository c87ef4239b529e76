/** The address of the page is its state: the screen, and the query. */

import { computed, signal } from "@preact/signals";
import { base } from "./rpc";

const address = signal(location.pathname + location.search);

/** The screen: the last segment of the path. Empty for the overview. */
export const screen = computed(() => new URL(address.value, location.origin).pathname.slice(base.length));
export const query = computed(() => new URL(address.value, location.origin).searchParams);

type Values = Record<string, string | number | null | undefined>;

/** The address of a screen. */
export function url(name: string, values: Values = {}): string {
  const text = search(new URLSearchParams(), values);
  return `${base}${name}${text}`;
}

/** Change some values of the query; null removes one. */
export function setQuery(values: Values, replace = false): void {
  go(base + screen.value + search(new URLSearchParams(query.value), values), replace);
}

/** The values of a list in the query, which are separated by commas. */
export function listOf(name: string): ReadonlySet<string> {
  return new Set(query.value.get(name)?.split(",").filter(Boolean));
}

/** Add a value to a list in the query, or take it out, and go to the first page. */
export function toggleIn(name: string, value: string): void {
  const next = new Set(listOf(name));
  if (!next.delete(value)) next.add(value);
  setQuery({ [name]: [...next].join(","), cursor: null });
}

export function go(href: string, replace = false): void {
  if (replace) history.replaceState(null, "", href);
  else history.pushState(null, "", href);
  address.value = location.pathname + location.search;
}

function search(params: URLSearchParams, values: Values): string {
  for (const [name, value] of Object.entries(values)) {
    if (value === null || value === undefined || value === "") params.delete(name);
    else params.set(name, String(value));
  }
  const text = params.toString();
  return text ? `?${text}` : "";
}

/** Follow links within the page without loading it again. */
export function startRouter(): void {
  addEventListener("popstate", () => {
    address.value = location.pathname + location.search;
  });
  document.addEventListener("click", (event) => {
    const plain = event.button === 0 && !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);
    const link = (event.target as Element | null)?.closest?.("a");
    if (!plain || !link || link.origin !== location.origin || link.target || link.hash) return;
    if (!link.hasAttribute("data-screen")) return;
    event.preventDefault();
    go(link.pathname + link.search);
    scrollTo(0, 0);
  });
}

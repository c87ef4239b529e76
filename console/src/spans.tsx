/** The choice of how much time a part of a screen shows, which the address keeps. */

import { query, setQuery } from "./router";

/** The spans by name: the title of each, and the numbers that belong to it. */
export type Spans = Record<string, [title: string, ...numbers: number[]]>;

/** The chosen one of some spans, else `usual`. */
export function chosenSpan(spans: Spans, usual: string): string {
  const chosen = query.value.get("span") ?? "";
  return Object.hasOwn(spans, chosen) ? chosen : usual;
}

export function SpanButtons({ spans, chosen }: { spans: Spans; chosen: string }) {
  return (
    <div class="segmented" role="group" aria-label="Time">
      {Object.entries(spans).map(([name, [title]]) => (
        <button type="button" key={name} aria-pressed={chosen === name} onClick={() => setQuery({ span: name }, true)}>
          {title}
        </button>
      ))}
    </div>
  );
}

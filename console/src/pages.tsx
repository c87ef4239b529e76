/** Lists by pages, and screens that need a method. */

import type { ComponentChildren } from "preact";
import { useQuery } from "./live";
import { query, setQuery } from "./router";
import { call, may } from "./rpc";
import type { Follows } from "./socket";
import type { Page } from "./types";
import { Empty, Head } from "./ui";

const PAGE = 100;
/** Not everything is an event: tasks that are deleted, or created for later, are none. */
export const AGAIN_SECONDS = 30;

/** A list by pages; the cursor is in the address. */
export function usePages<T>(
  method: string,
  params: object,
  follows?: Follows,
  limit = PAGE,
) {
  const cursor = query.value.get("cursor");
  return useQuery(
    `${method} ${JSON.stringify(params)} ${cursor}`,
    () => call<Page<T>>(method, { ...params, cursor, limit }),
    follows,
    AGAIN_SECONDS,
  );
}

export function Pages({ cursor }: { cursor: string | null | undefined }) {
  const here = query.value.get("cursor");
  if (!cursor && !here) return null;
  return (
    <nav class="row" aria-label="Pages">
      {here ? (
        <button type="button" onClick={() => setQuery({ cursor: null })}>
          First page
        </button>
      ) : null}
      {cursor ? (
        <button type="button" onClick={() => setQuery({ cursor })}>
          Next page
        </button>
      ) : null}
    </nav>
  );
}

/** A screen that needs a method: without it, the reason. */
export function Needs({ method, title, children }: { method: string; title: string; children: () => ComponentChildren }) {
  if (may(method)) return <>{children()}</>;
  return (
    <>
      <Head title={title} />
      <Empty title="Your token does not allow this.">The screen needs the method {method}.</Empty>
    </>
  );
}

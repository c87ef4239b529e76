/** The saved views of the list of tasks. */

import { signal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { go, query, url } from "./router";
import { base } from "./rpc";
import { NAME_MOST, readViews, type View, viewQuery, withoutView, withView } from "./views";

const NAME = `kaiju-views ${base}`;

const views = signal(readViews(localStorage.getItem(NAME)));

addEventListener("storage", (event) => {
  if (event.key === NAME) views.value = readViews(event.newValue);
});

function keep(list: View[]): void {
  views.value = list;
  localStorage.setItem(NAME, JSON.stringify(list));
}

/** Questions that are asked often. */
const USUAL_VIEWS: View[] = [
  { name: "Failed in 24 hours", query: "sort=-status_change&status=FAILED&status_change=%3C24h" },
  { name: "Retrying", query: "sort=next_run&status=IDLE&status_reason=retry" },
  { name: "Paused", query: "sort=status_change&status=QUEUED&status_reason=paused" },
  { name: "Running longest", query: "sort=status_change&status=EXECUTED" },
  { name: "Suspect", query: "status_reason=suspect" },
];

/** @param columns - the columns that are shown */
export function SavedViews({ columns }: { columns: readonly string[] }) {
  const [naming, setNaming] = useState(false);
  const here = viewQuery(query.value, columns);

  function save(name: string): void {
    keep(withView(views.value, name, here));
    setNaming(false);
    go(`${url("tasks")}?${here}`, true);
  }

  return (
    <div class="row wrap" role="group" aria-label="Saved views">
      {USUAL_VIEWS.map((one) => (
        <a
          data-screen
          key={one.name}
          class="view usual"
          href={`${url("tasks")}?${one.query}`}
          aria-current={viewQuery(new URLSearchParams(one.query), columns) === here ? "page" : undefined}
        >
          {one.name}
        </a>
      ))}
      {views.value.map((one) => (
        <span key={one.name} class="view">
          <a data-screen class="break" href={`${url("tasks")}?${one.query}`} aria-current={one.query === here ? "page" : undefined}>
            {one.name}
          </a>
          <button
            type="button"
            class="quiet small"
            aria-label={`Delete the view ${one.name}`}
            onClick={() => keep(withoutView(views.value, one.name))}
          >
            ✕
          </button>
        </span>
      ))}
      {naming ? (
        <Naming save={save} leave={() => setNaming(false)} />
      ) : (
        <button type="button" class="quiet" onClick={() => setNaming(true)}>
          Save this view
        </button>
      )}
    </div>
  );
}

function Naming({ save, leave }: { save: (name: string) => void; leave: () => void }) {
  const box = useRef<HTMLInputElement>(null);
  useEffect(() => box.current?.focus(), []);
  return (
    <form
      class="row wrap"
      onSubmit={(event) => {
        event.preventDefault();
        save(String(new FormData(event.currentTarget).get("name")));
      }}
      onKeyDown={(event) => {
        if (event.key === "Escape") leave();
      }}
    >
      <label class="row">
        <span>Name of the view</span>
        <input ref={box} name="name" required pattern=".*\S.*" maxLength={NAME_MOST} autocomplete="off" />
      </label>
      <button type="submit">Save</button>
      <button type="button" class="quiet" onClick={leave}>
        Cancel
      </button>
    </form>
  );
}

/** The filters of the list of tasks as chips, and a box that suggests more of them. */

import { useId, useRef, useState } from "preact/hooks";
import { filtersOf, keep, type Known, parse, problemOf, suggest, type Suggestion, titleOf, wordsOf } from "./filters";
import { useQuery } from "./live";
import { query, setQuery } from "./router";
import { call, may } from "./rpc";
import type { CommandView } from "./types";

const MOST = 12;

/** @param known - values to suggest; the methods of the connected executors join them */
export function FilterBox({ known }: { known: Map<string, Set<string>> }) {
  const list = useId();
  const input = useRef<HTMLInputElement>(null);
  const [typed, setTyped] = useState("");
  const [open, setOpen] = useState(false);
  const [at, setAt] = useState(-1);
  const [used, setUsed] = useState(false);
  useQuery(`methods of filters ${used}`, async () => {
    const commands = used && may("executors.commands") ? await call<CommandView[]>("executors.commands") : [];
    for (const one of commands) keep(known, "method", one.method);
  });
  const items: Suggestion[] = open ? suggest(typed, known as Known, MOST) : [];
  const chosen = items[at];
  const filter = parse(typed);
  const problem = filter && problemOf(filter);

  function write(text: string): void {
    setTyped(text);
    setAt(-1);
    setOpen(true);
  }

  function apply(column: string, value: string): void {
    const words = wordsOf(query.value);
    setQuery({ ...(words?.column === column ? { q: null, in: null } : {}), [column]: value, cursor: null });
    write("");
    setOpen(false);
  }

  function take(item: Suggestion): void {
    input.current?.focus();
    if (item.value === null) write(item.text);
    else apply(item.column, item.value);
  }

  function enter(): void {
    if (chosen) take(chosen);
    else if (problem !== null) return;
    else if (filter) apply(filter.column, filter.value);
    else if (typed.trim()) {
      setQuery({ q: typed.trim(), in: null, cursor: null });
      write("");
      setOpen(false);
    }
  }

  return (
    <div class="field grow suggests">
      <label for={`${list}-box`}>Filter</label>
      <input
        ref={input}
        id={`${list}-box`}
        type="text"
        role="combobox"
        aria-autocomplete="list"
        aria-expanded={items.length > 0}
        aria-controls={list}
        aria-invalid={problem !== null}
        aria-describedby={problem ? `${list}-problem` : undefined}
        aria-activedescendant={chosen ? `${list}-${at}` : undefined}
        placeholder="Words of the description, or group: invoices, retries > 2"
        autocomplete="off"
        spellcheck={false}
        value={typed}
        onFocus={() => {
          setUsed(true);
          setOpen(true);
        }}
        onClick={() => setOpen(true)}
        onBlur={() => setOpen(false)}
        onInput={(event) => write(event.currentTarget.value)}
        onKeyDown={(event) => {
          const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
          if (by !== undefined) {
            setOpen(true);
            if (items.length) setAt(at < 0 && by < 0 ? items.length - 1 : (at + by + items.length) % items.length);
          } else if (event.key === "Enter") enter();
          else if (event.key === "Escape" && items.length) setOpen(false);
          else return;
          event.preventDefault();
        }}
      />
      {problem ? (
        <p id={`${list}-problem`} class="bad-text help">
          {problem}
        </p>
      ) : null}
      <ul id={list} role="listbox" aria-label="Suggested filters" hidden={items.length === 0}>
        {items.map((item, index) => (
          <li
            key={item.text}
            id={`${list}-${index}`}
            role="option"
            aria-selected={index === at}
            onMouseDown={(event) => event.preventDefault()} // the box keeps the focus
            onClick={() => take(item)}
          >
            {item.text}
          </li>
        ))}
      </ul>
    </div>
  );
}

/** The filters of the address, each a button that removes it. */
export function FilterChips() {
  const params = query.value;
  const words = wordsOf(params);
  const chips: [text: string, column: string][] = filtersOf(params).map(({ column, value }) => [`${titleOf(column)}: ${value}`, column]);
  if (words) chips.push([`${titleOf(words.column)} contains “${words.value}”`, "q"]);
  if (chips.length === 0) return null;
  return (
    <div class="row wrap" role="group" aria-label="Filters">
      {chips.map(([text, column]) => (
        <button
          type="button"
          key={column}
          class="filter break"
          aria-pressed="true"
          aria-label={`Remove the filter ${text}`}
          onClick={({ currentTarget: chip }) => {
            const others = [chip.nextElementSibling, chip.previousElementSibling, ...document.querySelectorAll(".folded > button, [role=combobox]")];
            (others as (HTMLElement | null)[]).find((one) => one?.offsetParent)?.focus(); // the box is folded away on a phone
            setQuery({ [column]: null, ...(column === "q" ? { in: null } : {}), cursor: null });
          }}
        >
          {text} <span aria-hidden="true">✕</span>
        </button>
      ))}
    </div>
  );
}

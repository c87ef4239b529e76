/** Keys for the whole page, and a box that finds screens, actions and ids. */

import { signal } from "@preact/signals";
import { useState } from "preact/hooks";
import { HELP, matching, meaning, PLACES } from "./keys";
import { Modal } from "./modal";
import { go, url } from "./router";

export interface Screen {
  name: string;
  title: string;
}

interface Item {
  text: string;
  hint: string;
  run: () => void;
}

const WAIT_MS = 1_200;
const MOST = 12;

const shown = signal<"palette" | "help" | null>(null);

function leave(): void {
  shown.value = null;
}

/** Follow the keys of the page. */
export function startKeys(): void {
  let waits = "";
  let timer: number | undefined;
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || document.querySelector("dialog[open]")) return;
    const { key, ctrlKey: ctrl, metaKey: meta, altKey: alt } = event;
    const found = meaning({ key, ctrl, meta, alt, typing: isTyping(event.target) }, waits);
    waits = found.waits;
    window.clearTimeout(timer);
    if (waits) timer = window.setTimeout(() => (waits = ""), WAIT_MS);
    const { means } = found;
    if (means === null) return;
    event.preventDefault();
    if (means.kind === "palette" || means.kind === "help") shown.value = means.kind;
    else if (means.kind === "find") document.querySelector<HTMLElement>(".find input")?.focus();
    else if (means.kind === "go") go(url(means.to));
    else if (means.kind === "move") move(means.by);
    else if (means.kind === "mark") here()?.querySelector<HTMLElement>("input[type=checkbox]")?.click();
    else here()?.querySelector<HTMLElement>("a[data-screen]")?.click();
  });
}

function isTyping(target: EventTarget | null): boolean {
  return target instanceof Element && target.closest("input:not([type=checkbox]), textarea, select") !== null;
}

function rows(): HTMLTableRowElement[] {
  return [...document.querySelectorAll<HTMLTableRowElement>("main tbody tr")].filter((row) => row.querySelector("a[data-screen]"));
}

function here(): Element | null {
  return document.activeElement?.closest("main tbody tr") ?? null;
}

/** The link of the next row gets the focus: it is what Enter opens. */
function move(by: 1 | -1): void {
  const list = rows();
  const at = list.indexOf(here() as HTMLTableRowElement);
  const next = at < 0 ? (by > 0 ? 0 : list.length - 1) : Math.min(list.length - 1, Math.max(0, at + by));
  list[next]?.querySelector<HTMLElement>("a[data-screen]")?.focus();
}

/** @param find - goes to what an id or words stand for */
export function Palette({ screens, find }: { screens: Screen[]; find: (text: string) => Promise<void> }) {
  if (shown.value === "palette") return <Box screens={screens} find={find} />;
  if (shown.value === "help") return <Help screens={screens} />;
  return null;
}

/** What can be done on the page that is shown: its buttons, as far as they are allowed. */
function actions(): Item[] {
  const buttons = document.querySelectorAll<HTMLElement>("main .actions button, main .actions a");
  return [...buttons]
    .filter((button) => button.getAttribute("aria-disabled") !== "true")
    .map((button) => ({ text: button.textContent?.trim() ?? "", hint: "action on this task", run: () => button.click() }));
}

function Box({ screens, find }: { screens: Screen[]; find: (text: string) => Promise<void> }) {
  const [typed, setTyped] = useState("");
  const [at, setAt] = useState(0);
  const [known] = useState<Item[]>(() => [
    ...actions(),
    ...screens.map(({ name, title }) => ({ text: title, hint: "screen", run: () => go(url(name)) })),
  ]);
  const items = matching(known, typed).slice(0, MOST);
  const words = typed.trim();
  if (words) items.push({ text: `Find “${words}”`, hint: "id or words", run: () => void find(words) });
  const chosen = Math.min(at, items.length - 1);

  function run(item: Item | undefined): void {
    leave();
    item?.run();
  }

  return (
    <Modal name="Go to, or do" kind="palette" leave={leave} lightly>
      <input
        role="combobox"
        aria-label="Screen, action or id"
        aria-expanded="true"
        aria-controls="palette-list"
        aria-activedescendant={items.length ? `palette-${chosen}` : undefined}
        placeholder="Screen, action or id"
        autocomplete="off"
        spellcheck={false}
        value={typed}
        onInput={(event) => {
          setTyped(event.currentTarget.value);
          setAt(0);
        }}
        onKeyDown={(event) => {
          const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
          if (by !== undefined) setAt((chosen + by + items.length) % items.length);
          else if (event.key === "Enter") run(items[chosen]);
          else return;
          event.preventDefault();
        }}
      />
      <ul id="palette-list" role="listbox" aria-label="Found" class="palette-list">
        {items.map((item, index) => (
          <li
            key={`${item.text} ${item.hint}`}
            id={`palette-${index}`}
            role="option"
            aria-selected={index === chosen}
            onClick={() => run(item)}
          >
            <span class="break">{item.text}</span> <span class="muted">{item.hint}</span>
          </li>
        ))}
      </ul>
    </Modal>
  );
}

function Help({ screens }: { screens: Screen[] }) {
  const title = (name: string): string => screens.find((one) => one.name === name)?.title ?? name;
  const keys: [string, string][] = [...HELP, ...Object.entries(PLACES).map(([key, name]): [string, string] => [`g ${key}`, title(name)])];
  return (
    <Modal name="Keys" kind="palette" leave={leave} lightly>
      <h2>Keys</h2>
      <dl class="keys" tabIndex={0}>
        {keys.map(([key, what]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <div class="row end">
        <button type="button" onClick={() => (shown.value = null)}>
          Close
        </button>
      </div>
    </Modal>
  );
}

/** The parts that screens are made of. */

import { signal, useComputed } from "@preact/signals";
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { absolute, ago, count, now } from "./format";
import { format } from "./json";
import { Modal } from "./modal";
import { RpcError } from "./rpc";
import { url } from "./router";
import type { AuditRecord } from "./types";

const FOLDED_CHARACTERS = 4_000;

const SHAPES: Record<string, string> = {
  IDLE: "○",
  QUEUED: "◔",
  EXECUTED: "▶",
  WAITING: "◇",
  SUSPENDED: "‖",
  FINISHED: "✓",
  SKIPPED: "↷",
  FAILED: "✕",
  CANCELLED: "✕",
  LOST: "✕",
  MISSED: "∅",
  RELEASED: "↺",
  ACTIVE: "✓",
  RUNNING: "▶",
  STOPPED: "‖",
  DRAINING: "◔",
  GONE: "○",
};

/** A status: never by colour alone. */
export function StatusChip({ status, reason }: { status: string; reason?: string | null }) {
  return (
    <span class={`chip is-${status.toLowerCase()}`}>
      <span aria-hidden="true" class="shape">
        {SHAPES[status] ?? "○"}
      </span>
      {status}
      {reason ? <span class="reason"> · {reason}</span> : null}
    </span>
  );
}

/** A moment as seen from now, with the date as its title. */
export function When({ at }: { at: number | null | undefined }) {
  if (at === null || at === undefined) return <span class="muted">–</span>;
  return <Moment key={String(at)} at={Number(at)} />;
}

function Moment({ at }: { at: number }) {
  const text = useComputed(() => ago(at, now()));
  return (
    <time dateTime={new Date(at * 1000).toISOString()} title={absolute(at)}>
      {text}
    </time>
  );
}

export function TaskLink({ id, children }: { id: string; children?: ComponentChildren }) {
  return (
    <a data-screen href={url("task", { id })} class="id">
      {children ?? id}
    </a>
  );
}

/** JSON as text. Long values are folded. */
export function Json({ value, label }: { value: unknown; label: string }) {
  const [open, setOpen] = useState(false);
  const text = format(value, 2);
  const long = text.length > FOLDED_CHARACTERS;
  const shown = long && !open ? `${text.slice(0, FOLDED_CHARACTERS)}…` : text;
  return (
    <div class="json">
      <pre tabIndex={0} role="group" aria-label={label}>
        {shown}
      </pre>
      <div class="row end">
        {long ? (
          <button type="button" class="quiet" onClick={() => setOpen(!open)}>
            {open ? "Show less" : `Show all ${count(text.length)} characters`}
          </button>
        ) : null}
        <Copy text={text} what={label} />
      </div>
    </div>
  );
}

/** What an audit record holds beside who did what, folded. */
export function Details({ record }: { record: AuditRecord }) {
  return (
    <details>
      <summary aria-label={`Details of ${record.action}`}>Details</summary>
      <Json value={record.data} label={`details of ${record.action}`} />
    </details>
  );
}

export function Copy({ text, what }: { text: string; what: string }) {
  return (
    <button
      type="button"
      class="quiet"
      aria-label={`Copy ${what}`}
      onClick={() => copy(text).then((done) => say(done ? "Copied." : "Your browser does not allow copying."))}
    >
      Copy
    </button>
  );
}

/** The clipboard needs TLS or loopback; elsewhere the old way works. */
async function copy(text: string): Promise<boolean> {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return true;
  }
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}

/** An error of a query, in place of or above its answer. */
export function Failure({ error, retry }: { error: RpcError | undefined; retry?: () => void }) {
  if (!error || error.code === 401 || error.code === 0) return null; // the shell says these
  return (
    <div class="notice bad" role="alert">
      <p>{error.message}</p>
      {retry ? (
        <button type="button" onClick={retry}>
          Try again
        </button>
      ) : null}
    </div>
  );
}

export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <p class="strong">{title}</p>
      {children ? <p class="muted">{children}</p> : null}
    </div>
  );
}

/** In place of tasks, where none has been created yet. */
export function NoTasks() {
  return (
    <Empty title="There are no tasks yet.">
      Create one with <code>kaiju-tasks task create</code>, a client, or <code>tasks.create</code>.
    </Empty>
  );
}

/** The head of a screen. It takes the focus when the screen changes. */
export function Head({ title, children }: { title: string; children?: ComponentChildren }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${title} · kaiju_tasks`;
    if (document.activeElement === document.body) heading.current?.focus({ preventScroll: true });
  }, [title]);
  return (
    <div class="head">
      <h1 ref={heading} tabIndex={-1}>
        {title}
      </h1>
      {children}
    </div>
  );
}

interface TableProps {
  label: string;
  /** The titles of the columns, with their classes; a head that is more than a title is drawn as it is. */
  heads: (string | [title: ComponentChildren, style: string] | JSX.Element)[];
  /** The rows. */
  children: ComponentChildren;
}

/** A table. On a phone each row is a card, in which the cells carry the title of their column. */
export function Table({ label, heads, children }: TableProps) {
  const table = useRef<HTMLTableElement>(null);
  useLayoutEffect(() => {
    const [head, ...rows] = table.current?.rows ?? [];
    for (const { cells } of rows) {
      for (const cell of cells) cell.dataset.title = head?.cells[cell.cellIndex]?.textContent.replace(/^\W| \W$/g, "");
    }
  });
  return (
    <div class="scroll" role="region" aria-label={label} tabIndex={0}>
      <table ref={table}>
        <thead>
          <tr>
            {heads.map((one) =>
              Array.isArray(one) ? <th class={one[1]}>{one[0]}</th> : typeof one === "string" ? <th>{one}</th> : one,
            )}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}

/** Names with what is known of them; what is not known is left out. */
export function Facts({ facts }: { facts: [name: string, value: ComponentChildren][] }) {
  return (
    <dl class="facts">
      {facts.map(([name, value]) =>
        value === null || value === undefined ? null : (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ),
      )}
    </dl>
  );
}

/** Controls that a phone folds away, until somebody opens them. */
export function Folded({ title, open, children }: { title: string; open?: boolean; children: ComponentChildren }) {
  const [shown, setShown] = useState(open ?? false);
  return (
    <div class={shown ? "folded shown" : "folded"}>
      <button type="button" class="quiet" aria-expanded={shown} onClick={() => setShown(!shown)}>
        {title}
      </button>
      <div>{children}</div>
    </div>
  );
}

/** A button with the reason why it cannot be used. */
export function Button(props: {
  onClick: () => void;
  refusal?: string | null;
  kind?: "danger" | "primary" | "quiet";
  children: ComponentChildren;
  label?: string;
}) {
  const refused = Boolean(props.refusal);
  return (
    <button
      type="button"
      class={props.kind}
      aria-disabled={refused}
      aria-label={props.label}
      title={props.refusal ?? undefined}
      onClick={() => (refused ? say(props.refusal ?? "") : props.onClick())}
    >
      {props.children}
    </button>
  );
}

/** A button that moves something by a place. The focus goes with what is moved.
 *
 * @param label - what it is called; after: what the same button is called when it has moved
 * @param end - whether there is no place to move to
 */
export function Move(props: { label: string; after?: string; sign: string; kind?: string; end: boolean; move: () => void }) {
  const { label, after = label, sign, kind, end, move } = props;
  return (
    <button
      type="button"
      class={kind}
      aria-label={label}
      aria-disabled={end}
      onClick={() => {
        if (end) return;
        move();
        requestAnimationFrame(() => {
          [...document.querySelectorAll("button")].find((one) => one.getAttribute("aria-label") === after)?.focus();
        });
      }}
    >
      {sign}
    </button>
  );
}

export interface Question {
  title: string;
  body: ComponentChildren;
  action: string;
  danger?: boolean;
  /** Text that must be typed before the action is possible. */
  typed?: string;
  /** Ask why, for the audit. */
  why?: boolean;
  /** Ask for the most tasks per second. */
  paced?: boolean;
}

/** What was said to a question with yes. */
export interface Consent {
  reason: string | null;
  rate: number | null;
}

const asked = signal<(Question & { answer: (consent: Consent | null) => void }) | null>(null);
const said = signal("");

/** Ask before an action. null: it is not to be done. */
export function confirm(question: Question): Promise<Consent | null> {
  return new Promise((resolve) => {
    asked.value = {
      ...question,
      answer: (consent) => {
        asked.value = null;
        resolve(consent);
      },
    };
  });
}

/** Say what has happened. */
export function say(text: string): void {
  said.value = text;
}

/** Do something, and say how it went. */
export async function attempt(what: () => Promise<string>): Promise<boolean> {
  try {
    say(await what());
    return true;
  } catch (error) {
    if (!(error instanceof RpcError)) throw error;
    say(error.message);
    return false;
  }
}

/** The dialog and the line that says what has happened; once in the page. */
export function Desk() {
  return (
    <>
      {asked.value ? <Dialog key={asked.value.title} {...asked.value} /> : null}
      <div class="toast" role="status" aria-live="polite" hidden={!said.value}>
        <span>{said.value}</span>
        {said.value ? (
          <button type="button" class="quiet" aria-label="Dismiss" onClick={() => say("")}>
            ✕
          </button>
        ) : null}
      </div>
    </>
  );
}

type Asked = Question & { answer: (consent: Consent | null) => void };

function Dialog({ title, body, action, danger, typed, why, paced, answer }: Asked) {
  const [text, setText] = useState("");
  const ready = typed === undefined || text.trim() === typed;

  function agree(form: FormData): void {
    const rate = Number(form.get("rate") ?? 0);
    answer({ reason: String(form.get("reason") ?? "").trim() || null, rate: rate > 0 ? rate : null });
  }

  return (
    <Modal titled="question" leave={() => answer(null)}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (ready) agree(new FormData(event.currentTarget));
        }}
      >
        <h2 id="question">{title}</h2>
        <div class="body">{body}</div>
        {why ? (
          <label class="field">
            <span>Reason, for the audit (optional)</span>
            <input name="reason" maxLength={4096} autocomplete="off" />
          </label>
        ) : null}
        {paced ? (
          <label class="field narrow">
            <span>Maximum tasks per second (optional)</span>
            <input name="rate" type="number" min={0.1} step="any" />
          </label>
        ) : null}
        {typed === undefined ? null : (
          <label class="field">
            <span>Type {typed} to confirm</span>
            <input value={text} onInput={(event) => setText(event.currentTarget.value)} autocomplete="off" />
          </label>
        )}
        <div class="row end">
          <button type="button" onClick={() => answer(null)}>
            Go back
          </button>
          <button type="submit" class={danger ? "danger" : "primary"} disabled={!ready}>
            {action}
          </button>
        </div>
      </form>
    </Modal>
  );
}

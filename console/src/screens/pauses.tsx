/** What is held, by whom and why? */

import { useState } from "preact/hooks";
import { NO_RIGHT } from "../actions";
import { count, duration, now, plural } from "../format";
import { format } from "../json";
import { useQuery } from "../live";
import { Needs } from "../pages";
import { call, may } from "../rpc";
import { useSettled } from "../settled";
import type { Pause } from "../types";
import { attempt, Button, confirm, Empty, Failure, Head, Table, When } from "../ui";

type Scope = Partial<Pick<Pause, "app_name" | "group" | "group_id" | "method" | "owner" | "condition">>;

/** The conditions on the queued tasks that a pause holds, or would hold; null if they cannot be listed. */
function heldConditions({ app_name, group, group_id, method, owner, condition }: Scope): Record<string, unknown> | null {
  if (condition || (method && /[[\]]/.test(method))) return null;
  const like = method?.replace(/[\\%_]/g, "\\$&").replaceAll("*", "%").replaceAll("?", "_");
  const all = { app_name, group, group_id, method: like && { like }, user_id: owner, status: "QUEUED", system: false };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== null && value !== undefined && value !== ""));
}

/** The number of queued tasks in a scope; it is asked again every ten seconds. */
function Held({ scope, words }: { scope: Scope; words: (number: number) => string }) {
  const conditions = heldConditions(scope);
  const held = useQuery(
    `held ${JSON.stringify(conditions)}`,
    async () => (conditions === null || !may("tasks.count") ? null : (await call<{ count: number }>("tasks.count", { conditions })).count),
    undefined,
    10,
  );
  if (held.error) return <span class="bad-text">{held.error.message}</span>;
  return <>{held.data === undefined ? "…" : held.data === null ? "–" : words(held.data)}</>;
}

export const Pauses = () => (
  <Needs method="pauses.list" title="Pauses">
    {() => <PauseList />}
  </Needs>
);

function PauseList() {
  const list = useQuery("pauses", () => call<Pause[]>("pauses.list"), undefined, 10);

  async function end(pause: Pause): Promise<void> {
    const consent = await confirm({
      title: "End this pause?",
      body: <p class="break">Held tasks continue. Reason of the pause: {pause.reason}</p>,
      action: "End the pause",
      why: true,
    });
    if (consent === null) return;
    await attempt(async () => {
      await call("pauses.remove", { id: pause.id, reason: consent.reason });
      return "The pause has ended.";
    });
    list.reload();
  }

  return (
    <>
      <Head title="Pauses" />
      <Failure error={list.error} retry={list.reload} />
      <AddPause reload={list.reload} />
      {list.data?.length === 0 ? <Empty title="There are no pauses.">A pause holds tasks in the queue until it ends.</Empty> : null}
      {list.data?.length ? (
        <Table
          label="Pauses"
          heads={["State", "What it holds", ["Tasks", "number"], "Reason", "By", "Until", "Actions"]}
        >
          {list.data.map((pause) => (
            <tr key={pause.id}>
              <td class="status">
                {pause.active ? <span class="strong">active</span> : "inactive"}
              </td>
              <td class="what">{heldBy(pause)}</td>
              <td class="number">{pause.active ? <Held scope={pause} words={count} /> : "–"}</td>
              <td class="break">{pause.reason}</td>
              <td>{pause.author ?? "–"}</td>
              <td class="nowrap">
                {pause.cron ? `${pause.cron}, for ${duration(Number(pause.duration))}` : <When at={pause.until} />}
              </td>
              <td class="full">
                <Button
                  label={`End the pause: ${pause.reason}`}
                  refusal={may("pauses.remove") ? null : NO_RIGHT}
                  onClick={() => void end(pause)}
                >
                  End
                </Button>
              </td>
            </tr>
          ))}
        </Table>
      ) : null}
    </>
  );
}

function heldBy(pause: Pause): string {
  const parts = [
    pause.app_name && `stream ${pause.app_name}`,
    pause.group && `group ${pause.group}`,
    pause.group_id && `group id ${pause.group_id}`,
    pause.method && `method ${pause.method}`,
    pause.owner && `tasks of ${pause.owner}`,
    pause.condition && `if ${format(pause.condition)}`,
  ].filter(Boolean);
  return parts.join(", ") || "everything";
}

function AddPause({ reload }: { reload: () => void }) {
  const [open, setOpen] = useState(false);
  const [scope, setScope] = useState<Scope>({});
  const settled = useSettled(scope);
  if (!may("pauses.add")) return null;

  const text = (form: FormData, name: string): string | null => String(form.get(name) ?? "").trim() || null;

  async function add(element: HTMLFormElement): Promise<void> {
    const form = new FormData(element);
    const minutes = Number(text(form, "minutes"));
    const until = minutes > 0 ? now() + minutes * 60 : null;
    const params = { reason: text(form, "reason"), ...scopeOf(form), until };
    const done = await attempt(async () => {
      await call("pauses.add", params);
      return "The pause was added.";
    });
    if (done) {
      element.reset();
      setScope({});
    }
    reload();
  }

  function scopeOf(form: FormData): Scope {
    return { app_name: text(form, "app_name"), group: text(form, "group"), method: text(form, "method") };
  }

  return (
    <details class="card" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>Add a pause</summary>
      <form
        class="row wrap bottom"
        onInput={(event) => setScope(scopeOf(new FormData(event.currentTarget)))}
        onSubmit={(event) => {
          event.preventDefault();
          void add(event.currentTarget);
        }}
      >
        <p class="muted" style={{ flexBasis: "100%" }}>
          Fill in at least one of stream, group and method. A task is held if it matches everything that you fill in; the method is that of its next stage.
        </p>
        <label class="field grow">
          <span>Reason</span>
          <input name="reason" required maxLength={4096} />
        </label>
        <label class="field">
          <span>Stream</span>
          <input name="app_name" />
        </label>
        <label class="field">
          <span>Group</span>
          <input name="group" />
        </label>
        <label class="field">
          <span>Method, such as mail.*</span>
          <input name="method" />
        </label>
        <label class="field">
          <span>Duration in minutes (optional)</span>
          <input name="minutes" type="number" min={1} />
        </label>
        <button type="submit" class="primary">
          Add the pause
        </button>
      </form>
      <p role="status">
        {open && settled === scope && Object.values(scope).some(Boolean) ? (
          <Held scope={scope} words={(number) => `It would hold ${plural(number, "queued task")} now, and later ones.`} />
        ) : null}
      </p>
    </details>
  );
}

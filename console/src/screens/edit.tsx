/** Change the definition of a task: what differs, and never over what somebody else has changed. */

import { useEffect, useState } from "preact/hooks";
import { NO_RIGHT } from "../actions";
import { CopyAs } from "../copy";
import { Difference } from "../difference";
import { changedFields, merged } from "../diff";
import { begin, clear, data, like, problem, set, type Data } from "../draft";
import { fallbacks, Form, useCatalogue, useValidation, Verdict } from "../form";
import { parse } from "../json";
import { useQuery } from "../live";
import { Needs } from "../pages";
import { go, query, url } from "../router";
import { call, may, RpcError } from "../rpc";
import { Source } from "../source";
import type { Task } from "../types";
import { attempt, Failure, Head } from "../ui";

const FIXED = ["id", "next_run", "delay"];
const DEFINITION = (name: string): boolean => name !== "id";

/** What was read of the task, and by which number. */
interface Base {
  rev: number;
  definition: Data;
  status: string;
}

interface Conflict {
  message: string;
  theirs: Base;
  both: string[];
}

export const Edit = () => (
  <Needs method="tasks.update" title="Edit">
    {() => <Load key={query.value.get("id") ?? ""} />}
  </Needs>
);

async function read(id: string): Promise<Base> {
  const task = await call<Task & { rev: number }>("tasks.get", { id });
  return { rev: Number(task.rev), definition: like(task, DEFINITION, fallbacks()), status: task.status };
}

function Load() {
  const id = query.value.get("id") ?? "";
  const base = useQuery(`edit ${id}`, () => read(id));
  if (base.data) return <Change id={id} first={base.data} />;
  return (
    <>
      <Head title="Edit" />
      <Failure error={base.error} retry={base.reload} />
    </>
  );
}

/** The base of a draft stays with it, also when the task is changed meanwhile. */
const bases = new Map<string, Base>();

function Change({ id, first }: { id: string; first: Base }) {
  const [base, setBase] = useState(bases.get(id) ?? first);
  const [conflict, setConflict] = useState<Conflict | null>(null);
  const [reason, setReason] = useState("");
  const [ready, setReady] = useState(false);
  useEffect(() => {
    begin(`edit ${id}`, base.definition);
    bases.set(id, base);
    setReady(true);
  }, [id]);
  const catalogue = useCatalogue();
  const check = useValidation();
  if (!ready) return null;
  const mine = data.value;
  const names = mine === null ? [] : changedFields(base.definition, mine);
  const problems = new Map((check?.errors ?? []).map((one) => [one.field ?? "", one.message]));
  const params = mine === null ? {} : { id, data: changesOf(base.definition, mine), if_rev: base.rev };

  function over(): void {
    clear();
    bases.delete(id);
    go(url("task", { id }));
  }

  async function save(): Promise<void> {
    if (mine === null) return;
    await attempt(async () => {
      try {
        await call("tasks.update", { ...params, reason: reason.trim() || null });
      } catch (error) {
        if (!(error instanceof RpcError) || error.data.field !== "if_rev") throw error;
        const theirs = await read(id);
        setConflict({ message: error.message, theirs, both: merged(base.definition, mine, theirs.definition).both });
        return "Nothing was saved: someone else has changed the task.";
      }
      over();
      return "The task was changed.";
    });
  }

  function take(theirs: Base, keep: boolean): void {
    set(keep && mine !== null ? merged(base.definition, mine, theirs.definition).data : theirs.definition);
    bases.set(id, theirs);
    setBase(theirs);
    setConflict(null);
  }

  return (
    <>
      <Head title={`Edit ${id}`} />
      {conflict ? <Collision base={base} conflict={conflict} take={take} /> : null}
      {base.status === "IDLE" || base.status === "FINISHED" || base.status === "FAILED" ? null : (
        <p class="muted">
          A run is open ({base.status}). Its stream, unique and concurrency cannot be changed now; its stages and
          arguments can be changed only while it is suspended or waiting. Other fields take effect at its next transition.
        </p>
      )}
      <div class="make">
        <form
          id="make"
          class="make-form"
          onSubmit={(event) => {
            event.preventDefault();
            void save();
          }}
        >
          {mine === null ? (
            <p class="notice bad">The form returns when the JSON is valid: {problem.value}</p>
          ) : (
            <Form catalogue={catalogue.data ?? []} problems={problems} fixed={FIXED} />
          )}
        </form>
        <section class="make-json" aria-labelledby="changes">
          <h2 id="changes">{names.length ? `Changed: ${names.join(", ")}` : "No changes"}</h2>
          {mine !== null && names.length ? (
            <Difference before={base.definition} after={mine} label="Your changes" />
          ) : null}
          <Verdict check={check} />
          <label class="field">
            <span>Reason, for the audit (optional)</span>
            <input
              value={reason}
              maxLength={4096}
              autocomplete="off"
              onInput={(event) => setReason(event.currentTarget.value)}
            />
          </label>
          <div class="row wrap">
            <button
              type="submit"
              form="make"
              class="primary"
              disabled={!check?.valid || names.length === 0 || conflict !== null}
              title={may("tasks.update") ? undefined : NO_RIGHT}
            >
              Save
            </button>
            <button type="button" onClick={over}>
              Discard changes
            </button>
          </div>
          <details>
            <summary>As text</summary>
            <Source />
          </details>
          {names.length ? <CopyAs method="tasks.update" params={params} /> : null}
        </section>
      </div>
    </>
  );
}

/** The fields to send. One that is removed is as if it had never been set. */
function changesOf(before: Data, after: Data): Data {
  const absent = fallbacks();
  return Object.fromEntries(
    changedFields(before, after).map((name) => [name, name in after ? after[name] : parse(absent[name] || "null")]),
  );
}

interface CollisionProps {
  base: Base;
  conflict: Conflict;
  take: (theirs: Base, keep: boolean) => void;
}

function Collision({ base, conflict, take }: CollisionProps) {
  const { message, theirs, both } = conflict;
  return (
    <section class="card ask" role="alert" aria-labelledby="collision">
      <h2 id="collision">Someone else has changed the task</h2>
      <p>{message}</p>
      <Difference before={base.definition} after={theirs.definition} label="Changes by someone else" />
      <p>
        {both.length
          ? `Both of you have changed ${both.join(", ")}. Your values would replace theirs.`
          : "You have changed different fields: both changes can be kept."}
      </p>
      <div class="row wrap">
        <button type="button" class="primary" onClick={() => take(theirs, true)}>
          Apply my changes to their version
        </button>
        <button type="button" onClick={() => take(theirs, false)}>
          Discard my changes
        </button>
      </div>
    </section>
  );
}


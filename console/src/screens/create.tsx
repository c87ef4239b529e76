/** A new task: from the catalogue of commands, or as JSON. */

import { useEffect } from "preact/hooks";
import { CopyAs } from "../copy";
import { begin, clear, data, like, problem } from "../draft";
import { fallbacks, Form, useCatalogue, useValidation, Verdict } from "../form";
import { useQuery } from "../live";
import { Needs } from "../pages";
import { go, query, url } from "../router";
import { call } from "../rpc";
import { Source } from "../source";
import type { Task } from "../types";
import { attempt, Failure, Head } from "../ui";

export const Create = () => (
  <Needs method="tasks.create" title="New task">
    {() => <Make />}
  </Needs>
);

/** Not its id; and not its webhook, whose secret is not shown. */
const LIKE = (name: string): boolean => name !== "id" && name !== "webhook";

function Make() {
  const params = query.value;
  const from = params.get("from");
  const method = params.get("method");
  useEffect(() => {
    const app_name = params.get("app_name") ?? undefined;
    if (method !== null) begin(`command ${app_name} ${method}`, { app_name, commands: [{ method }] });
    else if (from === null) begin("", { commands: [] });
  }, [method, from]);
  const source = useQuery(`source ${from ?? ""}`, () =>
    from === null ? Promise.resolve(null) : call<Task>("tasks.get", { id: from }),
  );
  useEffect(() => {
    if (source.data) begin(`task ${source.data.id}`, like(source.data, LIKE, fallbacks()));
  }, [source.data]);
  const catalogue = useCatalogue();
  const check = useValidation();
  const problems = new Map((check?.errors ?? []).map((one) => [one.field ?? "", one.message]));
  return (
    <>
      <Head title={from === null ? "New task" : `New task like ${from}`} />
      <Failure error={source.error ?? catalogue.error} />
      <div class="make">
        <form
          id="make"
          class="make-form"
          onSubmit={(event) => {
            event.preventDefault();
            void create();
          }}
        >
          {data.value === null ? (
            <p class="notice bad">The form returns when the JSON is valid: {problem.value}</p>
          ) : (
            <Form catalogue={catalogue.data ?? []} problems={problems} />
          )}
        </form>
        <section class="make-json" aria-labelledby="as-text">
          <Verdict check={check} />
          <div class="row wrap">
            <button type="submit" form="make" class="primary" disabled={!check?.valid}>
              Create the task
            </button>
            <button type="button" onClick={clear}>
              Start over
            </button>
          </div>
          <h2 id="as-text">As text</h2>
          <Source />
          {data.value ? <CopyAs method="tasks.create" params={{ data: data.value }} /> : null}
        </section>
      </div>
    </>
  );
}

async function create(): Promise<void> {
  const task = data.value;
  if (task === null) return;
  await attempt(async () => {
    const made = await call<{ id: string }>("tasks.create", { data: task });
    clear();
    go(url("task", { id: made.id }));
    return "The task was created.";
  });
}

/** What can it do? */

import { plural } from "../format";
import { fieldsOf } from "../fields";
import { useQuery } from "../live";
import { Needs } from "../pages";
import { query, setQuery, url } from "../router";
import { call, may } from "../rpc";
import type { CommandView } from "../types";
import { Empty, Failure, Head, Json, Table } from "../ui";

export const Commands = () => (
  <Needs method="executors.commands" title="Commands">
    {() => <Catalogue />}
  </Needs>
);

function Catalogue() {
  const list = useQuery("commands", () => call<CommandView[]>("executors.commands"), undefined, 30);
  const word = query.value.get("q") ?? "";
  const found = (list.data ?? []).filter((one) => matches(one, word.toLowerCase()));
  const streams = [...new Set(found.map((one) => one.app_name))].sort();
  return (
    <>
      <Head title="Commands" />
      <p class="muted">The commands of the connected executors, by stream.</p>
      <label class="field narrow">
        <span>Search</span>
        <input
          type="search"
          value={word}
          onInput={(event) => setQuery({ q: event.currentTarget.value }, true)}
          autocomplete="off"
        />
      </label>
      <Failure error={list.error} retry={list.reload} />
      {list.data && found.length === 0 ? (
        <Empty title={word ? "No command matches." : "No executor is connected."}>
          Executors announce their commands when they connect.
        </Empty>
      ) : null}
      {streams.map((stream) => (
        <section key={stream} aria-label={stream}>
          <h2>{stream}</h2>
          {found
            .filter((one) => one.app_name === stream)
            .map((one) => (
              <Command key={one.method} command={one} />
            ))}
        </section>
      ))}
    </>
  );
}

function matches(command: CommandView, word: string): boolean {
  return `${command.app_name} ${command.method} ${command.doc}`.toLowerCase().includes(word);
}

function Command({ command }: { command: CommandView }) {
  const { app_name, method, doc, params, executors } = command;
  const fields = fieldsOf(params);
  const [first, ...more] = doc.split("\n");
  return (
    <details class="card part">
      <summary>
        <code class="strong">{method}</code> <span class="muted">{first}</span>
      </summary>
      {more.length ? <p class="pre">{more.join("\n").trim()}</p> : null}
      {fields.length ? (
        <Table label={`Parameters of ${method}`} heads={["Parameter", "Type", "Default", "Meaning"]}>
          {fields.map((field) => (
            <tr key={field.name}>
              <td class="status">
                <code>{field.name}</code>
              </td>
              <td>{field.options.length ? field.options.join(", ") : field.type}</td>
              <td>{field.required ? "required" : <code>{field.fallback.slice(0, 80)}</code>}</td>
              <td class="what">{field.help}</td>
            </tr>
          ))}
        </Table>
      ) : (
        <p class="muted">No parameters.</p>
      )}
      <div class="row wrap">
        {may("tasks.create") ? (
          <a data-screen class="button" href={url("create", { method, app_name })}>
            New task with this command
          </a>
        ) : null}
        <span class="muted">Available on {plural(executors, "executor")}.</span>
      </div>
      <details>
        <summary>JSON Schema</summary>
        <Json value={params} label={`the schema of ${method}`} />
      </details>
    </details>
  );
}

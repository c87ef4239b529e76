/** Parts of the page of a task that are read when somebody opens them: its definition, and who did what to it. */

import { useState } from "preact/hooks";
import { like } from "./draft";
import { exact } from "./filters";
import { fallbacks } from "./form";
import { useQuery } from "./live";
import { url } from "./router";
import { call, may } from "./rpc";
import { RunStages } from "./stages";
import type { AuditRecord, Page, StageRecord, Task } from "./types";
import { Copy, Details, Failure, Table, When } from "./ui";
import { yaml } from "./yaml";

/** How long each attempt of a run was queued, and ran. */
export function Times({ records }: { records: StageRecord[] }) {
  const moments = records.flatMap((one) => [one.queued_at, one.started_at, one.ended_at]).filter((at) => at !== null);
  if (moments.length === 0) return null;
  return (
    <section aria-labelledby="times">
      <h2 id="times">Time</h2>
      <RunStages records={records} from={Math.min(...moments.map(Number))} to={Math.max(...moments.map(Number))} />
    </section>
  );
}

/** What `tasks.create` would take to create the same task. */
export function Definition({ task }: { task: Task }) {
  const [open, setOpen] = useState(false);
  return (
    <details class="card part" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>Definition as YAML</summary>
      {open ? <Yaml text={yaml(like(task, () => true, fallbacks()))} /> : null}
    </details>
  );
}

function Yaml({ text }: { text: string }) {
  return (
    <div class="json">
      <pre tabIndex={0} role="group" aria-label="the definition as YAML">
        {text}
      </pre>
      <div class="row end">
        <Copy text={text} what="the definition as YAML" />
      </div>
    </div>
  );
}

export function TaskAudit({ id }: { id: string }) {
  const [open, setOpen] = useState(false);
  if (!may("audit.list")) return null;
  return (
    <details class="card part" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>Audit: who did what to this task</summary>
      {open ? <Actions id={id} /> : null}
    </details>
  );
}

const SHOWN = 50;

function Actions({ id }: { id: string }) {
  const list = useQuery(
    `audit ${id}`,
    () => call<Page<AuditRecord>>("audit.list", { conditions: { target: id }, limit: SHOWN }),
    id,
  );
  const found = list.data?.data ?? [];
  return (
    <>
      <Failure error={list.error} retry={list.reload} />
      {list.data && found.length === 0 ? <p class="muted">No individual action on this task is recorded.</p> : null}
      {found.length ? (
        <Table label="Audit of this task" heads={["When", "Who", "Action", "Details"]}>
          {found.map((one) => (
            <tr key={one.id}>
              <td class="status">
                <When at={one.at} />
              </td>
              <td>{one.user_id ?? one.remote ?? "–"}</td>
              <td>{one.action}</td>
              <td class="full">
                <Details record={one} />
              </td>
            </tr>
          ))}
        </Table>
      ) : null}
      {list.data?.cursor ? (
        <a data-screen href={url("audit", { target: exact(id) })}>
          All actions
        </a>
      ) : null}
    </>
  );
}

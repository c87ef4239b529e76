/** The messages that a run has received, and the tasks that belong to a task. */

import { useRef, useState } from "preact/hooks";
import { concerns, inOrder } from "./family";
import { useQuery } from "./live";
import { AGAIN_SECONDS } from "./pages";
import { call, may } from "./rpc";
import type { FamilyMember, InboxEntry, Task } from "./types";
import { Failure, Json, StatusChip, Table, TaskLink, When } from "./ui";

export function Inbox({ task }: { task: Task }) {
  const hooks = task.commands.some((one) => one.method === "_MESSAGE_");
  if (!hooks || !may("tasks.inbox")) return null;
  return <Messages id={task.id} />;
}

function Messages({ id }: { id: string }) {
  const inbox = useQuery(`inbox ${id}`, () => call<InboxEntry[]>("tasks.inbox", { id }), id);
  return (
    <section aria-labelledby="inbox">
      <h2 id="inbox">Messages</h2>
      <Failure error={inbox.error} retry={inbox.reload} />
      {inbox.data?.length === 0 ? <p class="muted">The open run has received no messages.</p> : null}
      {inbox.data?.length ? (
        <Table label="Messages" heads={["State", "Name", "From", "Arrived", "Data"]}>
          {inbox.data.map((one) => (
            <tr key={one.message_id}>
              <td>{one.state}</td>
              <td>{one.name ?? "–"}</td>
              <td>{one.sender ?? "–"}</td>
              <td class="nowrap">
                <When at={one.at} />
              </td>
              <td>
                <details>
                  <summary>Show</summary>
                  <Json value={one.data} label={`the data of the message ${one.message_id}`} />
                </details>
              </td>
            </tr>
          ))}
        </Table>
      ) : null}
    </section>
  );
}

/** A task with those by which it was created, and those that it has created. */
export function Relatives({ task }: { task: Task }) {
  const creates = task.commands.some((one) => one.method === "_TASKS_");
  if (!may("tasks.family") || !(creates || task.parent_id !== null)) return null;
  return <Tree id={task.id} />;
}

interface Family {
  data: FamilyMember[];
  more: boolean;
}

const SHOWN = 50;

function Tree({ id }: { id: string }) {
  const [all, setAll] = useState(false);
  const ids = useRef<ReadonlySet<string>>(new Set());
  const family = useQuery(
    `family ${id}`,
    () => call<Family>("tasks.family", { id }),
    (event) => concerns(ids.current, event),
    AGAIN_SECONDS, // callers that do not see all streams get events without the parent
  );
  ids.current = new Set(family.data?.data.map((one) => one.id));
  const members = inOrder(family.data?.data ?? []);
  const shown = all ? members : members.slice(0, SHOWN);
  return (
    <section aria-labelledby="family">
      <h2 id="family">Family</h2>
      <Failure error={family.error} retry={family.reload} />
      <ul class="tree">
        {shown.map((one) => (
          <li key={one.id} style={{ paddingInlineStart: `${one.depth * 1.2}rem` }} aria-current={one.id === id ? "true" : undefined}>
            <StatusChip status={one.status} reason={one.status_reason} /> <TaskLink id={one.id} />{" "}
            <span class="muted">
              {one.stage}/{one.stages} in {one.app_name}
              {one.next_task === null ? "" : `, then ${one.next_task}`}
            </span>
          </li>
        ))}
      </ul>
      {members.length > SHOWN && !all ? (
        <p>
          <button type="button" onClick={() => setAll(true)}>
            Show all {members.length}
          </button>
        </p>
      ) : null}
      {family.data?.more ? <p class="muted">There are more than 1,000 tasks; the others are not shown.</p> : null}
    </section>
  );
}

/** Who works, and with how much? */

import { NO_RIGHT } from "../actions";
import { exact } from "../filters";
import { useQuery } from "../live";
import { Needs } from "../pages";
import { url } from "../router";
import { call, may } from "../rpc";
import type { Executor } from "../types";
import { attempt, Button, confirm, Empty, Failure, Head, StatusChip, Table, When } from "../ui";

export const Executors = () => (
  <Needs method="executors.list" title="Executors">
    {() => <ExecutorList />}
  </Needs>
);

const CHANGES = {
  drain: ["Drain", "It gets no new tasks. Those that it has continue."],
  suspend: ["Suspend", "Its tasks are given to other executors, and its calls are refused until it is resumed."],
  resume: ["Resume", "It can take tasks again."],
} as const;

function ExecutorList() {
  const list = useQuery("executors", () => call<Executor[]>("executors.list"), undefined, 10);

  async function change(id: string, what: keyof typeof CHANGES): Promise<void> {
    const [title, effect] = CHANGES[what];
    const consent = await confirm({
      title: `${title} ${id}?`,
      body: <p>{effect}</p>,
      action: title,
      danger: what === "suspend",
      why: true,
    });
    if (consent === null) return;
    await attempt(async () => {
      const now = await call<Executor>(`executors.${what}`, { id, reason: consent.reason });
      return `The executor is now ${now.status}.`;
    });
    list.reload();
  }

  function refusal(one: Executor, what: keyof typeof CHANGES): string | null {
    if (!may(`executors.${what}`)) return NO_RIGHT;
    const held = ["DRAINING", "SUSPENDED"].includes(one.status);
    if (what === "resume") return held ? null : "It already takes tasks.";
    if (what === "drain") return one.status === "ACTIVE" ? null : `It is ${one.status}.`;
    return one.status === "SUSPENDED" ? "It is already suspended." : null;
  }

  return (
    <>
      <Head title="Executors" />
      <Failure error={list.error} retry={list.reload} />
      {list.data?.length === 0 ? (
        <Empty title="No executor is connected.">
          Start one with <code>kaiju-tasks executor module:executor</code>.
        </Empty>
      ) : null}
      {list.data?.length ? (
        <Table
          label="Executors"
          heads={[
            "Status",
            "Executor",
            ["Streams", "wide"],
            ["Tasks", "number"],
            "Last ping",
            ["Connected", "wide"],
            "Actions",
          ]}
        >
          {list.data.map((one) => (
            <tr key={one.id}>
              <td class="status">
                <StatusChip status={one.status} />
              </td>
              <td class="what">
                <span class="id">{one.id}</span>
                <span class="line">
                  {[one.host, one.pid === null ? null : `process ${one.pid}`, one.version].filter(Boolean).join(", ")}
                </span>
              </td>
              <td class="wide">{one.app_names.join(", ")}</td>
              <td class="number nowrap">
                <a
                  data-screen
                  aria-label={`${one.running} of ${one.capacity} tasks at ${one.id}`}
                  href={url("tasks", { executor_id: exact(one.id), status: "EXECUTED" })}
                >
                  {one.running} of {one.capacity}
                </a>
              </td>
              <td class="nowrap">
                <When at={one.last_ping} />
              </td>
              <td class="wide nowrap">
                <When at={one.connected_at} />
              </td>
              <td class="full">
                <div class="row wrap">
                  {(Object.keys(CHANGES) as (keyof typeof CHANGES)[]).map((what) => (
                    <Button
                      key={what}
                      label={`${CHANGES[what][0]} ${one.id}`}
                      refusal={refusal(one, what)}
                      onClick={() => void change(one.id, what)}
                    >
                      {CHANGES[what][0]}
                    </Button>
                  ))}
                </div>
              </td>
            </tr>
          ))}
        </Table>
      ) : null}
    </>
  );
}

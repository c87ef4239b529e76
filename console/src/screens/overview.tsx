/** Is it well? */

import type { JSX } from "preact";
import { exact } from "../filters";
import { count, plural } from "../format";
import { useQuery } from "../live";
import { url } from "../router";
import { call, may } from "../rpc";
import type { Executor, ListedTask, Notification, Page, Pause, Status, StreamInfo, SystemView } from "../types";
import { Trends } from "../trends";
import { Failure, Head, NoTasks, StatusChip, Table } from "../ui";

interface Need {
  title: string;
  text: string;
  href: string;
}

interface Known {
  info: SystemView;
  executors: Executor[];
  pauses: Pause[];
  streams: StreamInfo[];
  awaited: number;
  notifications: number;
}

const STATUSES: Status[] = ["QUEUED", "EXECUTED", "WAITING", "SUSPENDED", "IDLE", "FINISHED", "FAILED"];

async function ask(): Promise<Known> {
  const one = { limit: 1 };
  const waiting = { status: "WAITING", status_reason: "message" };
  const [info, executors, pauses, streams, awaited, notifications] = await Promise.all([
    call<SystemView>("system.info"),
    may("executors.list") ? call<Executor[]>("executors.list") : [],
    may("pauses.list") ? call<Pause[]>("pauses.list") : [],
    may("streams.list") ? call<StreamInfo[]>("streams.list") : [],
    may("tasks.list") ? call<Page<ListedTask>>("tasks.list", { ...one, conditions: waiting }) : null,
    may("notifications.list")
      ? call<Page<Notification>>("notifications.list", { ...one, conditions: { enabled: true } })
      : null,
  ]);
  return {
    info,
    executors,
    pauses,
    streams,
    awaited: awaited?.count ?? 0,
    notifications: notifications?.count ?? 0,
  };
}

function sum(info: SystemView, status: Status): number {
  return Object.values(info.tasks).reduce((all, one) => all + (one[status] ?? 0), 0);
}

function needsOf({ info, executors, pauses, streams, awaited, notifications }: Known): Need[] {
  const failed = sum(info, "FAILED");
  const held = sum(info, "SUSPENDED");
  const lost = executors.filter((one) => ["LOST", "SUSPENDED"].includes(one.status)).length;
  const active = pauses.filter((one) => one.active).length;
  const suspect = streams.reduce((all, one) => all + one.suspect, 0);
  const needs: (Need | false)[] = [
    failed > 0 && {
      title: `${plural(failed, "task has", "tasks have")} failed`,
      text: "See why they failed, and restart them.",
      href: url("tasks", { status: "FAILED", sort: "-status_change" }),
    },
    awaited > 0 && {
      title: `${plural(awaited, "task waits", "tasks wait")} for a message`,
      text: "An answer is required.",
      href: url("waiting"),
    },
    ...streams
      .filter((one) => one.ready > 0 && one.executors === 0)
      .map(({ app_name, ready }) => ({
        title: `${plural(ready, "task waits", "tasks wait")} in ${app_name}, and no executor takes ${ready === 1 ? "it" : "them"}`,
        text: `Start an executor of the stream ${app_name}.`,
        href: url("tasks", { app_name: exact(app_name), status: "QUEUED", sort: "status_change" }),
      })),
    suspect > 0 && {
      title: `${plural(suspect, "task is", "tasks are")} suspect`,
      text: "The executors that ran them were lost twice.",
      href: url("tasks", { status_reason: "suspect" }),
    },
    lost > 0 && {
      title: `${plural(lost, "executor is", "executors are")} lost or suspended`,
      text: `${lost === 1 ? "Its" : "Their"} tasks were given to other executors.`,
      href: url("executors"),
    },
    held > 0 && {
      title: `${plural(held, "task is", "tasks are")} suspended`,
      text: `${held === 1 ? "It continues when it is" : "They continue when they are"} resumed.`,
      href: url("tasks", { status: "SUSPENDED" }),
    },
    active > 0 && {
      title: `${plural(active, "pause is", "pauses are")} active`,
      text: `Held tasks continue when the ${active === 1 ? "pause ends" : "pauses end"}.`,
      href: url("pauses"),
    },
    notifications > 0 && {
      title: `${plural(notifications, "notification is", "notifications are")} unread`,
      text: "Runs of tasks with notify have ended.",
      href: url("notifications"),
    },
  ];
  return needs.filter((one): one is Need => one !== false);
}

export function Overview() {
  const known = useQuery("overview", ask, () => true, 15);
  const needs = known.data ? needsOf(known.data) : [];
  const verdict = known.data
    ? needs.length === 0
      ? "Nothing needs your attention"
      : `${plural(needs.length, "item needs", "items need")} your attention`
    : "Overview";
  return (
    <>
      <Head title={verdict} />
      <Failure error={known.error} retry={known.reload} />
      {known.data ? (
        <>
          <ul class="cards">
            {needs.map((need) => (
              <li key={need.title}>
                <a data-screen href={need.href} class="card link">
                  <span class="strong">{need.title}</span>
                  <span class="muted">{need.text}</span>
                </a>
              </li>
            ))}
          </ul>
          <Trends />
          <section aria-labelledby="streams">
            <h2 id="streams">Streams</h2>
            <Streams info={known.data.info} />
          </section>
        </>
      ) : null}
    </>
  );
}

function Streams({ info }: { info: SystemView }) {
  const names = Object.keys(info.tasks).sort();
  if (names.length === 0) return <NoTasks />;
  return (
    <Table
      label="Tasks by stream and status"
      heads={["Stream", ...STATUSES.map((status): [JSX.Element, string] => [<StatusChip status={status} />, "number"])]}
    >
      {names.map((name) => (
        <tr key={name}>
          <th scope="row" class="full break">
            <a data-screen href={url("tasks", { app_name: exact(name) })}>
              {name}
            </a>
          </th>
          {STATUSES.map((status) => {
            const number = info.tasks[name]?.[status] ?? 0;
            return (
              <td key={status} class={number ? "number" : "number none"}>
                {number ? (
                  <a
                    data-screen
                    aria-label={`${count(number)} ${status} in ${name}`}
                    href={url("tasks", { app_name: exact(name), status })}
                  >
                    {count(number)}
                  </a>
                ) : (
                  <span class="muted">0</span>
                )}
              </td>
            );
          })}
        </tr>
      ))}
    </Table>
  );
}

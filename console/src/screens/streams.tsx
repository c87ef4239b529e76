/** Where is work held up? */

import { NO_RIGHT } from "../actions";
import { exact } from "../filters";
import { count, duration, plural } from "../format";
import { useQuery } from "../live";
import { Needs } from "../pages";
import { url } from "../router";
import { call, may } from "../rpc";
import type { StreamInfo } from "../types";
import { attempt, Button, confirm, Empty, Failure, Head, Table, When } from "../ui";

const EVERY_SECONDS = 5;

export const Streams = () => (
  <Needs method="streams.list" title="Streams">
    {() => <List />}
  </Needs>
);

function List() {
  const list = useQuery("streams", () => call<StreamInfo[]>("streams.list"), undefined, EVERY_SECONDS);

  async function pause(one: StreamInfo): Promise<void> {
    const held = one.ready + one.running;
    const consent = await confirm({
      title: `Pause the stream ${one.app_name}?`,
      body: (
        <p>
          {plural(one.ready, "ready task")} would be held, and no new tasks would start. Running tasks continue.{" "}
          {held === 0 ? "The stream has no open tasks now." : ""}
        </p>
      ),
      action: "Pause the stream",
      why: true,
    });
    if (consent === null) return;
    await attempt(async () => {
      await call("pauses.add", { app_name: one.app_name, reason: consent.reason ?? "Paused in the console" });
      return `The stream ${one.app_name} is paused. End the pause under Pauses.`;
    });
    list.reload();
  }

  return (
    <>
      <Head title="Streams" />
      <Failure error={list.error} retry={list.reload} />
      {list.data?.length === 0 ? (
        <Empty title="No stream has open tasks or executors.">A stream appears with its first task or executor.</Empty>
      ) : null}
      {list.data?.length ? (
        <Table
          label="Streams"
          heads={[
            "Stream",
            ["Ready", "number"],
            "Oldest ready",
            ["Running", "number"],
            "Places",
            ["Held", "wide"],
            ["Median wait", "number wide"],
            ["95 % waited up to", "number wide"],
            "Actions",
          ]}
        >
          {list.data.map((one) => (
            <tr key={one.app_name}>
              <td class="what">
                <a data-screen href={url("tasks", { app_name: exact(one.app_name) })} class="strong">
                  {one.app_name}
                </a>
                <span class="line">
                  {one.executors === 0 ? "no executor" : plural(one.executors, "executor")}
                  {one.waiting ? `, ${count(one.waiting)} at a hook` : ""}
                  {one.suspect ? `, ${count(one.suspect)} suspect` : ""}
                </span>
              </td>
              <td class="number">{count(one.ready)}</td>
              <td class="nowrap">
                <When at={one.oldest_ready} />
              </td>
              <td class="number">{count(one.running)}</td>
              <td>
                <Places one={one} />
              </td>
              <td class="wide">{heldText(one.held)}</td>
              <td class="number wide nowrap">{one.wait_p50 === null ? "–" : duration(Number(one.wait_p50))}</td>
              <td class="number wide nowrap">{one.wait_p95 === null ? "–" : duration(Number(one.wait_p95))}</td>
              <td class="full">
                <Button
                  label={`Pause the stream ${one.app_name}`}
                  refusal={may("pauses.add") ? null : NO_RIGHT}
                  onClick={() => void pause(one)}
                >
                  Pause…
                </Button>
              </td>
            </tr>
          ))}
        </Table>
      ) : null}
    </>
  );
}

function Places({ one }: { one: StreamInfo }) {
  if (one.capacity === 0) return <span class="muted">none</span>;
  const taken = one.capacity - one.free;
  return (
    <span class="places">
      <meter min={0} max={one.capacity} value={taken} aria-label={`Places taken in ${one.app_name}`} />
      <span class="nowrap">
        {count(one.free)} of {count(one.capacity)} free
      </span>
    </span>
  );
}

function heldText(held: Record<string, number>): string {
  const parts = Object.entries(held).map(([reason, number]) => `${count(number)} ${reason}`);
  return parts.join(", ") || "–";
}

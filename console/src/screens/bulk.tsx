/** Which actions on many tasks go on, and how did the others end? */

import { NO_RIGHT } from "../actions";
import { Refusals, summary } from "../bulk";
import { count, duration } from "../format";
import { useQuery } from "../live";
import { Needs, Pages, usePages } from "../pages";
import { query, url } from "../router";
import { call, may } from "../rpc";
import type { BulkCall } from "../types";
import { attempt, Button, confirm, Empty, Facts, Failure, Head, Json, StatusChip, Table, TaskLink, When } from "../ui";

const PROGRESS_SECONDS = 1;

export const Bulk = () => (
  <Needs method="bulk.list" title="Bulk calls">
    {() => (query.value.has("id") ? <One id={query.value.get("id") ?? ""} /> : <List />)}
  </Needs>
);

function List() {
  const list = usePages<BulkCall>("bulk.list", {}, () => true);
  return (
    <>
      <Head title="Bulk calls" />
      <p class="muted">Actions on many tasks: who started them, their progress, and what was refused.</p>
      <Failure error={list.error} retry={list.reload} />
      {list.data?.data.length === 0 ? (
        <Empty title="There are no bulk calls.">Start one on the Tasks screen.</Empty>
      ) : null}
      {list.data?.data.length ? (
        <Table label="Bulk calls" heads={["State", "Action", "Progress", "By", "Started", ["Reason", "wide"]]}>
          {list.data.data.map((one) => (
            <tr key={one.id}>
              <td class="status">
                <StatusChip status={one.state} />
              </td>
              <td class="what">
                <a data-screen href={url("bulk", { id: one.id })}>
                  {one.method}
                </a>
              </td>
              <td>
                {count(one.done + one.refused)} of {count(one.matched)}
                {one.refused ? <span class="line">{count(one.refused)} refused</span> : null}
              </td>
              <td>{one.user_id ?? "–"}</td>
              <td class="nowrap since">
                <When at={one.started} />
              </td>
              <td class="wide what">{one.reason ?? "–"}</td>
            </tr>
          ))}
        </Table>
      ) : null}
      <Pages cursor={list.data?.cursor} />
    </>
  );
}

function One({ id }: { id: string }) {
  const one = useQuery(`bulk ${id}`, () => call<BulkCall>("bulk.get", { id }), undefined, PROGRESS_SECONDS);
  const bulk = one.data;

  async function stop(): Promise<void> {
    const consent = await confirm({
      title: "Stop this call?",
      body: <p>Tasks that it has handled stay changed. The others are not changed.</p>,
      action: "Stop the call",
      danger: true,
      why: true,
    });
    if (consent === null) return;
    await attempt(async () => {
      const stopped = await call<BulkCall>("bulk.stop", { id, reason: consent.reason });
      return `The call is ${stopped.state}: ${summary(stopped)}.`;
    });
    one.reload();
  }

  return (
    <>
      <Head title={bulk ? bulk.method : "Bulk call"}>
        {bulk ? (
          <div class="row wrap sub">
            <StatusChip status={bulk.state} />
            <code class="id">{bulk.id}</code>
          </div>
        ) : null}
      </Head>
      <p>
        <a data-screen href={url("bulk")}>
          All bulk calls
        </a>
      </p>
      <Failure error={one.error} retry={one.reload} />
      {bulk ? (
        <>
          <section class="card" aria-label="Progress">
            <progress max={Math.max(1, bulk.matched)} value={bulk.done + bulk.refused} aria-label="Handled tasks" />
            <p role="status" aria-live="polite">
              {count(bulk.done)} done, {count(bulk.refused)} refused, {count(bulk.pending)} pending of {count(bulk.matched)}
              {remaining(bulk)}
            </p>
            {bulk.error ? <p class="bad-text">{bulk.error}</p> : null}
            {bulk.state === "RUNNING" ? (
              <div class="row">
                <Button kind="danger" refusal={may("bulk.stop") ? null : NO_RIGHT} onClick={() => void stop()}>
                  Stop…
                </Button>
              </div>
            ) : null}
          </section>
          {bulk.refusals.length ? (
            <section aria-labelledby="refused">
              <h2 id="refused">Refused</h2>
              <Refusals counts={bulk.refusals} />
            </section>
          ) : null}
          <Facts
            facts={[
              ["Started", <When at={bulk.started} />],
              ["Ended", bulk.ended === null ? null : <When at={bulk.ended} />],
              ["By", bulk.user_id],
              ["Stopped by", bulk.stopped_by],
              ["Reason", bulk.reason],
              ["Maximum per second", bulk.rate === null ? null : String(bulk.rate)],
            ]}
          />
          <h2>Conditions</h2>
          <Json value={bulk.conditions} label="the conditions" />
          {bulk.sample?.length ? (
            <details class="card">
              <summary>The first {bulk.sample.length} tasks</summary>
              <ul class="ids">
                {bulk.sample.map((task) => (
                  <li key={task}>
                    <TaskLink id={task} />
                  </li>
                ))}
              </ul>
            </details>
          ) : null}
        </>
      ) : null}
    </>
  );
}

function remaining(bulk: BulkCall): string {
  if (bulk.state !== "RUNNING" || bulk.rate === null) return "";
  return `; about ${duration(bulk.pending / bulk.rate)} left`;
}

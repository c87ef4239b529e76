/** Two runs of a task, stage by stage. */

import { duration } from "./format";
import { between } from "./lengths";
import { format } from "./json";
import { useQuery } from "./live";
import { call } from "./rpc";
import type { Command, StageRecord } from "./types";
import { Failure, StatusChip, Table } from "./ui";

interface Props {
  commands: Command[];
  first: string;
  second: string;
}

export function Comparison({ commands, first, second }: Props) {
  const both = useQuery(`compare ${first} ${second}`, () =>
    Promise.all([first, second].map((job_id) => call<StageRecord[]>("tasks.stages", { job_id }))),
  );
  if (!both.data) return <Failure error={both.error} retry={both.reload} />;
  const [earlier = [], later = []] = both.data;
  const stages = Math.max(commands.length, ...[...earlier, ...later].map((one) => one.stage + 1));
  return (
    <section aria-labelledby="comparison">
      <h2 id="comparison">Comparison of two runs</h2>
      <Table
        label="Comparison of two runs"
        heads={["Stage", `Run ${first.slice(0, 8)}`, `Run ${second.slice(0, 8)}`, ["Difference", "number"], "Result"]}
      >
        {Array.from({ length: stages }, (_, stage) => (
          <Row key={stage} stage={stage} command={commands[stage]} a={lastOf(earlier, stage)} b={lastOf(later, stage)} />
        ))}
      </Table>
    </section>
  );
}

function lastOf(records: StageRecord[], stage: number): StageRecord | undefined {
  return records.filter((one) => one.stage === stage).at(-1);
}

function Row({ stage, command, a, b }: { stage: number; command?: Command; a?: StageRecord; b?: StageRecord }) {
  const before = a ? between(a.started_at, a.ended_at) : null;
  const after = b ? between(b.started_at, b.ended_at) : null;
  return (
    <tr>
      <td class="what">
        {stage + 1}. {command?.name ?? a?.method ?? b?.method ?? "–"}
      </td>
      <Side record={a} took={before} />
      <Side record={b} took={after} />
      <td class="number nowrap">{before === null || after === null ? "–" : change(after - before)}</td>
      <td>{a && b ? (format(a.result) === format(b.result) ? "equal" : "differs") : "–"}</td>
    </tr>
  );
}

function Side({ record, took }: { record: StageRecord | undefined; took: number | null }) {
  if (!record) return <td class="muted">not run</td>;
  return (
    <td>
      <StatusChip status={record.outcome} /> {took === null ? "" : duration(took)}
      {record.attempt > 1 ? <span class="tag">attempt {record.attempt}</span> : null}
      {record.error ? <span class="line bad-text">{record.error.message}</span> : null}
    </td>
  );
}

function change(seconds: number): string {
  return `${seconds < 0 ? "−" : "+"}${duration(Math.abs(seconds))}`;
}

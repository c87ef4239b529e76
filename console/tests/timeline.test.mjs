import assert from "node:assert/strict";
import test from "node:test";
import { BARS_MAX, barAt, COMING, density, endedBar, lanesOf, openBar, pack, ROWS_MAX, ticks, zoomed } from "../src/timeline";

const RUN = {
  task_id: "t",
  job_id: "j",
  status: "FINISHED",
  app_name: "default",
  scheduled_at: null,
  queued_at: 100,
  started_at: 110,
  ended_at: 130,
  executor_id: "e1",
  group: null,
  parent_id: null,
  labels: { team: "mail" },
  error: null,
};
const TASK = { ...RUN, id: "t", status: "EXECUTED", since: 150, stage: 0, retries: 0 };

function bar(from, to, changes = {}) {
  return endedBar({ ...RUN, job_id: `${from}-${to}`, queued_at: from, started_at: from, ended_at: to, ...changes });
}

test("an ended run was queued, and ran", () => {
  assert.deepEqual(endedBar(RUN).segments, [
    { kind: "queued", from: 100, to: 110 },
    { kind: "running", from: 110, to: 130 },
  ]);
});

test("a run that was cancelled in the queue has not run", () => {
  const cancelled = endedBar({ ...RUN, status: "CANCELLED", started_at: null });
  assert.deepEqual(cancelled.segments, [{ kind: "queued", from: 100, to: 130 }]);
});

test("a missed fire is a moment", () => {
  const times = { queued_at: null, started_at: null, scheduled_at: 90, ended_at: 500 };
  const missed = endedBar({ ...RUN, status: "MISSED", job_id: null, ...times });
  assert.deepEqual([missed.from, missed.to, missed.segments], [90, 90, []]);
});

test("a run whose clocks disagree has no negative part", () => {
  for (const segment of endedBar({ ...RUN, started_at: 90, ended_at: 80 }).segments) {
    assert.ok(segment.to >= segment.from);
  }
});

test("a run without a time has no bar", () => {
  const none = { queued_at: null, started_at: null, ended_at: null };
  assert.equal(endedBar({ ...RUN, ...none }), null);
});

test("an open run goes on until now", () => {
  const kinds = (changes) => openBar({ ...TASK, ...changes }, 200)?.segments.map((one) => `${one.kind} ${one.from}-${one.to}`);
  assert.deepEqual(kinds({}), ["queued 100-150", "running 150-200"]);
  assert.deepEqual(kinds({ stage: 2 }), ["running 100-150", "running 150-200"]);
  assert.deepEqual(kinds({ status: "QUEUED", since: 100 }), ["queued 100-200"]);
  assert.deepEqual(kinds({ status: "WAITING", queued_at: null }), ["waiting 150-200"]);
  assert.deepEqual(kinds({ since: 300 }), ["queued 100-200", "running 200-200"]);
  assert.equal(kinds({ status: "FINISHED" }), undefined);
});

test("bars that overlap stand in rows of their own", () => {
  const rows = pack([bar(0, 10), bar(5, 15), bar(10, 20), bar(16, 17)], 0);
  assert.deepEqual(rows.map((row) => row.map((one) => one.from)), [[0, 10], [5, 16]]);
  assert.deepEqual(pack([bar(0, 1), bar(2, 3)], 5).length, 2);
});

test("a bar is found at its time", () => {
  const row = [bar(0, 10), bar(20, 20)];
  assert.equal(barAt(row, 10, 0).from, 0);
  assert.equal(barAt(row, 15, 0), null);
  assert.equal(barAt(row, 22, 3).from, 20);
  assert.equal(barAt(row, -1, 0), null);
});

test("lanes have names, an order, and only what is within the time", () => {
  const bars = [
    bar(0, 5, { executor_id: "b" }),
    bar(0, 5, { executor_id: null, status: "FAILED" }),
    bar(1, 5, { executor_id: "a" }),
    bar(90, 95, { executor_id: "late" }),
  ];
  const lanes = lanesOf(bars, "executor", "", 0, 50, 0);
  assert.deepEqual(lanes.map((one) => [one.name, one.bars.length, one.failed]), [["a", 1, 0], ["b", 1, 0], [null, 1, 1]]);
  assert.deepEqual(lanesOf(bars, "label", "team", 0, 50, 0).map((one) => one.name), ["mail"]);
  assert.deepEqual(lanesOf(bars, "label", "other", 0, 50, 0).map((one) => one.name), [null]);
});

test("other lanes stand by their number of bars", () => {
  const bars = [bar(0, 5, { task_id: "a" }), bar(1, 5, { task_id: "z" }), bar(2, 5, { task_id: "z" })];
  assert.deepEqual(lanesOf(bars, "task", "", 0, 50, 0).map((one) => one.name), ["z", "a"]);
});

test("a fire that is to come is no run", () => {
  const coming = { ...bar(5, 5), state: COMING, key: "c" };
  const [lane] = lanesOf([bar(0, 5), coming], "stream", "", 0, 50, 0);
  assert.deepEqual([lane.bars.length, lane.runs, lane.failed], [2, 1, 0]);
});

test("too many bars have no rows", () => {
  const many = Array.from({ length: BARS_MAX + 1 }, (_, at) => bar(at, at + 0.5));
  assert.deepEqual(lanesOf(many, "stream", "", 0, 1e6, 0)[0].rows, []);
  assert.equal(lanesOf(many.slice(1), "stream", "", 0, 1e6, 0)[0].rows.length, 1);
  const crowd = Array.from({ length: ROWS_MAX + 1 }, (_, at) => bar(at, 1000));
  assert.deepEqual(lanesOf(crowd, "stream", "", 0, 1e6, 0)[0].rows, []);
});

test("a density counts what runs at a time", () => {
  const bars = [bar(0, 20), bar(5, 10, { status: "FAILED" }), endedBar({ ...RUN, queued_at: 0, started_at: 10, ended_at: 20 })];
  const found = density(bars, 0, 20, 2);
  assert.deepEqual(found.running, [1.5, 2]);
  assert.deepEqual(found.idle, [1, 0]);
  assert.deepEqual(found.failed, [0, 1]);
  assert.equal(found.most, 2.5);
});

test("a density covers only its time", () => {
  assert.deepEqual(density([bar(-100, 100)], 0, 10, 2).running, [1, 1]);
});

test("ticks are round in their zone", () => {
  const berlin = () => 3600;
  assert.deepEqual(ticks(0, 86_400, 4, berlin), { step: 21_600, times: [-3600 + 21_600, 39_600, 61_200, 82_800] });
  assert.deepEqual(ticks(10, 20, 5, () => 0).times, [10, 12, 14, 16, 18]);
});

test("ticks stay round over the night on which the clock is changed", () => {
  const change = 3600;
  const offset = (time) => (time < change ? 3600 : 7200);
  for (const time of ticks(0, 86_400, 8, offset).times) {
    assert.equal((time + offset(time)) % 10_800, 0);
  }
});

test("zooming keeps the time under the pointer, and has bounds", () => {
  assert.deepEqual(zoomed(0, 100, 0.5, 50), [25, 75]);
  assert.deepEqual(zoomed(0, 100, 0.5, 0), [0, 50]);
  assert.deepEqual(zoomed(0, 1, 0.5, 0), [0, 1]);
});

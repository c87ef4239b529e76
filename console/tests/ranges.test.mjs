import assert from "node:assert/strict";
import test from "node:test";
import { conditionsOf, parse, problemOf, suggest } from "../src/filters";
import { EXAMPLES, range } from "../src/ranges";

const NOW = 1_800_000_000;
const DAY = 86_400;
const utc = (kind, text) => range(kind, text, NOW, true);
const at = (text) => Date.parse(text) / 1000;

test("numbers have operators and ranges", () => {
  assert.equal(utc("number", "2"), 2);
  assert.equal(utc("number", "= 2"), 2);
  assert.equal(utc("number", "-2"), -2);
  assert.deepEqual(utc("number", "> 2"), { gt: 2 });
  assert.deepEqual(utc("number", ">=2"), { ge: 2 });
  assert.deepEqual(utc("number", "<2"), { lt: 2 });
  assert.deepEqual(utc("number", "<=-2"), { le: -2 });
  assert.deepEqual(utc("number", "2..5"), { ge: 2, le: 5 });
  for (const text of ["", ">", "two", "2..", "..5", "1.5", "1..2..3", "<15m", "=>2"]) assert.equal(utc("number", text), null, text);
});

test("a length of time is counted from now, back or ahead", () => {
  assert.deepEqual(utc("past", "<15m"), { ge: NOW - 900 });
  assert.deepEqual(utc("past", "15 min"), { ge: NOW - 900 });
  assert.deepEqual(utc("past", ">7d"), { lt: NOW - 7 * DAY });
  assert.deepEqual(utc("coming", "<1.5h"), { le: NOW + 5400 });
  assert.deepEqual(utc("coming", ">1w"), { gt: NOW + 7 * DAY });
  for (const text of ["15", "=15m", "15y", "m"]) assert.equal(utc("past", text), null, text);
});

test("a date is the whole day, and a time its minute or second", () => {
  const day = at("2026-11-28T00:00Z");
  assert.deepEqual(utc("past", "2026-11-28"), { ge: day, lt: day + DAY });
  assert.deepEqual(utc("past", ">2026-11-28"), { ge: day + DAY });
  assert.deepEqual(utc("past", "<=2026-11-28"), { lt: day + DAY });
  assert.deepEqual(utc("past", "< 2026-11-28"), { lt: day });
  assert.deepEqual(utc("past", ">= 2026-11-28 20:31:05"), { ge: at("2026-11-28T20:31:05Z") });
  assert.deepEqual(utc("past", "2026-11-27..2026-11-28 12:00"), { ge: day - DAY, lt: day + DAY / 2 + 60 });
  assert.deepEqual(range("past", "2026-11-28 UTC", NOW, false), { ge: day, lt: day + DAY });
  for (const text of ["2026-13-28", "2026-02-30", "2026-04-31", "2026-02-30..2026-03-05", "28.11.2026", "2026-11-28..", "yesterday"]) assert.equal(utc("past", text), null, text);
});

test("a day is as long as the clock of the browser makes it", () => {
  const { TZ } = process.env;
  process.env.TZ = "Europe/Berlin";
  try {
    const local = (text) => range("past", text, NOW, false);
    const day = at("2026-10-25T00:00+02:00");
    assert.deepEqual(local("2026-10-25"), { ge: day, lt: day + 25 * 3600 });
    assert.deepEqual(local("2026-03-29"), { ge: at("2026-03-29T00:00+01:00"), lt: at("2026-03-30T00:00+02:00") });
    assert.deepEqual(local("2026-10-24..2026-10-25"), { ge: day - DAY, lt: day + 25 * 3600 });
    assert.deepEqual(local("2026-10-31"), { ge: at("2026-10-31T00:00+01:00"), lt: at("2026-11-01T00:00+01:00") });
    assert.deepEqual(utc("past", "2026-10-25"), { ge: at("2026-10-25T00:00Z"), lt: at("2026-10-26T00:00Z") });
  } finally {
    if (TZ === undefined) delete process.env.TZ;
    else process.env.TZ = TZ;
  }
});

test("a filter is typed with its operator, and what is no range is refused and not left out", () => {
  assert.deepEqual(parse("retries > 2"), { column: "retries", value: "> 2" });
  assert.deepEqual(parse("retries:>2"), { column: "retries", value: ">2" });
  assert.deepEqual(parse("next run<1h"), { column: "next_run", value: "<1h" });
  assert.equal(parse("group > 2"), null);
  assert.equal(problemOf(parse("retries: many")), "retries can be 0, >0, 1..3.");
  assert.equal(problemOf(parse("group: many")), null);
  const params = new URLSearchParams({ retries: ">2", created: "<1h", priority: "high" });
  assert.deepEqual(conditionsOf(params, NOW, true), { retries: { gt: 2 }, created: { ge: NOW - 3600 }, priority: "high" });
});

test("every example can be typed", () => {
  for (const [kind, examples] of Object.entries(EXAMPLES)) for (const one of examples) assert.notEqual(utc(kind, one), null, one);
  assert.deepEqual(suggest("retries:", new Map(), 5).map((one) => one.text), ["retries: >0", "retries: 0", "retries: 1..3"].sort((a, b) => (a < b ? -1 : 1)));
});

import assert from "node:assert/strict";
import test from "node:test";
import { conditionOf, conditionsOf, exact, filtersOf, keep, learnFrom, parse, suggest, titleOf, wordsOf } from "../src/filters";

const params = (text) => new URLSearchParams(text);
const texts = (typed, known = new Map(), most = 50) => suggest(typed, known, most).map((one) => one.text);

test("a value that is chosen is not a pattern, and `_` is none in one", () => {
  const known = new Map([["group", new Set(["50%", "a_b"])]]);
  const [half] = suggest("group:50", known, 5);
  assert.equal(half.text, "group: 50%");
  assert.deepEqual(conditionsOf(new URLSearchParams({ group: half.value })), { group: { like: "50\\%" } });
  const [named] = suggest("group:a_", known, 5);
  assert.deepEqual(conditionsOf(new URLSearchParams({ group: named.value })), { group: "a_b" });
  assert.deepEqual(conditionsOf(new URLSearchParams({ group: "a_%" })), { group: { like: "a\\_%" } });
});

test("the text for just one value matches no other one", () => {
  assert.equal(conditionOf(exact("a_b")), "a_b");
  assert.deepEqual(conditionOf(exact("50%_")), { like: "50\\%\\_" });
  assert.deepEqual(conditionOf("tasks.%"), { like: "tasks.%" });
});

test("an address stands for conditions", () => {
  assert.deepEqual(conditionsOf(params("")), {});
  assert.deepEqual(conditionsOf(params("status=FAILED,QUEUED&app_name=billing&sort=id&cursor=x&columns=group&other=1")), {
    status: ["FAILED", "QUEUED"],
    app_name: "billing",
  });
  assert.deepEqual(conditionsOf(params("label.team=a%25&error.type=timeout&group=")), {
    "label.team": { like: "a%" },
    "error.type": "timeout",
  });
  assert.deepEqual(conditionsOf(params("label.%25=x&label.=y&constructor=z")), {});
});

test("words are searched in descriptions, or in a column that has a filter", () => {
  assert.deepEqual(conditionsOf(params("q=order 7")), { description: { like: "%order 7%" } });
  assert.deepEqual(conditionsOf(params("q=7&in=group_id")), { group_id: { like: "%7%" } });
  assert.deepEqual(conditionsOf(params("q=7&in=toString")), { description: { like: "%7%" } });
  assert.equal(wordsOf(params("in=id")), null);
});

test("a filter is typed by its name, its column or its label", () => {
  assert.deepEqual(parse("stream: billing"), { column: "app_name", value: "billing" });
  assert.deepEqual(parse("app_name:billing"), { column: "app_name", value: "billing" });
  assert.deepEqual(parse("Group ID: 7:8"), { column: "group_id", value: "7:8" });
  assert.deepEqual(parse("label.team:a"), { column: "label.team", value: "a" });
  for (const words of ["billing", "stream:", "stream: ", "http://x", "label.: a", "constructor: a"]) assert.equal(parse(words), null, words);
});

test("what an address has is what was typed", () => {
  for (const text of ["stream: a&b=c", "error: x/y?#%", "label.team: \u05d0"]) {
    const { column, value } = parse(text);
    const [found] = filtersOf(params(new URLSearchParams({ [column]: value }).toString()));
    assert.equal(`${titleOf(found.column)}: ${found.value}`, text);
  }
});

test("columns are suggested, then the values of the column that is named", () => {
  const known = new Map([
    ["app_name", new Set(["mail", "billing"])],
    ["group", new Set(["weekly mail"])],
    ["label.team", new Set(["a"])],
  ]);
  assert.equal(texts("", known)[0], "stream:");
  assert.ok(texts("", known).includes("label.team:"));
  assert.deepEqual(texts("stream:", known), ["stream: billing", "stream: mail"]);
  assert.deepEqual(texts("stream: AI", known), ["stream: mail"]);
  assert.deepEqual(texts("mail", known), ["stream: mail", "group: weekly mail"]);
  assert.deepEqual(texts("label.team: ", known), ["label.team: a"]);
  assert.deepEqual(texts("http://x", known), []);
  assert.equal(texts("", known, 3).length, 3);
});

test("values of pages are kept for suggestions, and not without end", () => {
  const known = new Map();
  const row = { app_name: "a", group: null, method: "do.echo", error: { type: "timeout" }, labels: { team: "x" } };
  learnFrom([row, row], known);
  assert.deepEqual([...known].map(([column, values]) => `${column} ${[...values]}`), [
    "app_name a",
    "method do.echo",
    "error.type timeout",
    "label.team x",
  ]);
  for (let number = 0; number < 600; number += 1) keep(known, "group", `g${number}`);
  assert.equal(known.get("group").size, 500);
});

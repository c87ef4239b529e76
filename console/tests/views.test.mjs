import assert from "node:assert/strict";
import test from "node:test";
import { COLUMNS, columnsOf, columnsText, moved, orderOf, toggled, USUAL } from "../src/columns";
import { readViews, viewQuery, withoutView, withView } from "../src/views";

test("columns are shown in the order in which they are named, the usual ones unless others are named", () => {
  assert.deepEqual(columnsOf(null), USUAL);
  assert.deepEqual(columnsOf(""), USUAL);
  assert.deepEqual(columnsOf("stage,group,nothing,stage"), ["stage", "group"]);
  assert.deepEqual(columnsOf("none"), []);
});

test("the text of columns is read back, and there is none for the usual ones", () => {
  for (const columns of [[], ["group"], Object.keys(COLUMNS)]) assert.deepEqual(columnsOf(columnsText(columns)), columns);
  assert.equal(columnsText(USUAL), null);
});

test("a column is added and taken away", () => {
  const more = toggled(null, "group");
  assert.deepEqual(columnsOf(more), [...USUAL, "group"]);
  assert.equal(toggled(more, "group"), null);
});

test("a column is moved to the left and to the right, and not beyond the ends", () => {
  const [first, second, ...rest] = USUAL;
  const text = moved(null, first, 1);
  assert.deepEqual(columnsOf(text), [second, first, ...rest]);
  assert.equal(moved(text, first, -1), null);
  assert.equal(moved(null, first, -1), null);
  assert.equal(moved(null, rest.at(-1), 1), null);
  assert.equal(moved(null, "labels", 1), null);
});

test("a click on a head sorts, and the next one the other way round", () => {
  assert.deepEqual(orderOf("since", "-created", false), { now: "none", next: "-status_change" });
  assert.deepEqual(orderOf("since", "-status_change", false), { now: "descending", next: "status_change" });
  assert.deepEqual(orderOf("app_name", "id", false), { now: "none", next: "app_name" });
  assert.deepEqual(orderOf("app_name", "app_name", false), { now: "ascending", next: "-app_name" });
  assert.equal(orderOf("labels", "id", false), null);
  assert.deepEqual(orderOf("parent_id", "id", false), { now: "none", next: "parent_id" });
  assert.equal(orderOf("parent_id", "id", true), null);
  assert.deepEqual(orderOf("id", "id", true), { now: "ascending", next: "-id" });
});

test("a view keeps filters, order and columns, and not the page of the list", () => {
  const query = viewQuery(new URLSearchParams("status=FAILED&cursor=abc&app_name=a%26b"), USUAL);
  assert.equal(query, viewQuery(new URLSearchParams("app_name=a%26b&status=FAILED&columns=stage"), USUAL));
  assert.equal(new URLSearchParams(query).get("app_name"), "a&b");
  assert.equal(new URLSearchParams(query).has("cursor"), false);
  assert.deepEqual(columnsOf(new URLSearchParams(viewQuery(new URLSearchParams(), [])).get("columns")), []);
});

test("views are added, replaced by their name, and removed", () => {
  const one = withView([], " Failed ", "status=FAILED");
  assert.deepEqual(one, [{ name: "Failed", query: "status=FAILED" }]);
  const two = withView(withView(one, "Mail", "app_name=mail"), "Failed", "status=QUEUED");
  assert.deepEqual(two.map((view) => view.query), ["app_name=mail", "status=QUEUED"]);
  assert.deepEqual(withView(two, "  ", "x"), two);
  assert.deepEqual(withoutView(two, "Mail").map((view) => view.name), ["Failed"]);
  assert.deepEqual(readViews(JSON.stringify(two)), two);
  let many = [];
  for (let number = 0; number < 60; number += 1) many = withView(many, `${number}`, "");
  assert.deepEqual([many.length, many[0].name], [50, "10"]);
});

test("a storage that something else has written has no views", () => {
  for (const text of [null, "", "{", "null", "7", '{"name": "a"}', '[1, null, {"name": ""}, {"name": "a"}]']) assert.deepEqual(readViews(text), []);
});

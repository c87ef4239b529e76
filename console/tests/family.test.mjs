import assert from "node:assert/strict";
import test from "node:test";
import { concerns, inOrder } from "../src/family";

const member = (id, parent_id, depth) => ({ id, parent_id, depth });

test("each task stands directly after its parent", () => {
  const level = [member("a", null, 0), member("b", "a", 1), member("c", "a", 1), member("d", "b", 2), member("e", "c", 2)];
  assert.deepEqual(inOrder(level).map((one) => one.id), ["a", "b", "d", "c", "e"]);
});

test("a task whose parent is not shown is the first of its family", () => {
  assert.deepEqual(inOrder([member("b", "hidden", 0), member("c", "b", 1)]).map((one) => one.id), ["b", "c"]);
});

test("events of members and of their new children concern a family, and all events while it is not known", () => {
  const ids = new Set(["a", "b"]);
  assert.ok(concerns(ids, { id: "b", parent_id: "a" }));
  assert.ok(concerns(ids, { id: "new", parent_id: "b" }));
  assert.ok(!concerns(ids, { id: "other", parent_id: null }));
  assert.ok(!concerns(ids, { id: "other" }));
  assert.ok(concerns(new Set(), { id: "other" }));
});

import assert from "node:assert/strict";
import test from "node:test";
import { HELP, matching, meaning, PLACES } from "../src/keys";

const press = (key, changes = {}) => ({ key, ctrl: false, meta: false, alt: false, typing: false, ...changes });

test("Ctrl K opens the palette, also while somebody types", () => {
  for (const changes of [{ ctrl: true }, { meta: true }, { ctrl: true, typing: true }]) {
    assert.deepEqual(meaning(press("k", changes), "").means, { kind: "palette" });
  }
  assert.deepEqual(meaning(press("K", { ctrl: true }), "g"), { means: { kind: "palette" }, waits: "" });
});

test("what somebody types means nothing, and neither do keys of the browser", () => {
  for (const key of ["g", "j", "/", "?", "x"]) {
    assert.deepEqual(meaning(press(key, { typing: true }), ""), { means: null, waits: "" });
    assert.deepEqual(meaning(press(key, { ctrl: true }), ""), { means: null, waits: "" });
  }
});

test("g waits for a letter, and forgets another", () => {
  assert.deepEqual(meaning(press("g"), ""), { means: null, waits: "g" });
  assert.deepEqual(meaning(press("t"), "g"), { means: { kind: "go", to: "tasks" }, waits: "" });
  assert.deepEqual(meaning(press("o"), "g").means, { kind: "go", to: "" });
  assert.deepEqual(meaning(press("z"), "g"), { means: null, waits: "" });
  assert.equal(meaning(press("constructor"), "").means, null);
});

test("each screen has a letter of its own", () => {
  const screens = Object.values(PLACES);
  assert.equal(new Set(screens).size, screens.length);
  assert.ok(HELP.length > 3);
});

test("a palette finds by words in any order", () => {
  const items = ["New task", "Tasks", "Streams"].map((text) => ({ text }));
  assert.deepEqual(matching(items, "task").map((one) => one.text), ["Tasks", "New task"]);
  assert.deepEqual(matching(items, "task new").map((one) => one.text), ["New task"]);
  assert.equal(matching(items, " ").length, 3);
  assert.equal(matching(items, "nothing").length, 0);
});

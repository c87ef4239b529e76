import assert from "node:assert/strict";
import test from "node:test";
import { changedFields, excerpt, lineDiff, merged } from "../src/diff";
import { parse } from "../src/json";

const short = (before, after) => lineDiff(before, after).map((one) => `${{ same: " ", gone: "-", new: "+" }[one.kind]}${one.text}`).join("");

test("a diff has the lines that are gone and those that are new", () => {
  assert.equal(short("a\nb\nc", "a\nx\nc"), " a-b+x c");
  assert.equal(short("a", "a"), " a");
  assert.equal(short("a\na\na", "a\na"), " a a-a");
  assert.equal(short("a\nb\nc\nd", "b\nd\ne"), "-a b-c d+e");
});

test("a diff of any two texts leads from one to the other", () => {
  let seed = 7;
  const random = (most) => (seed = (seed * 48271) % 2147483647) % most;
  for (let round = 0; round < 300; round += 1) {
    const make = () => Array.from({ length: random(8) + 1 }, () => "abc"[random(3)]).join("\n");
    const [before, after] = [make(), make()];
    const lines = lineDiff(before, after);
    assert.equal(lines.filter((one) => one.kind !== "new").map((one) => one.text).join("\n"), before);
    assert.equal(lines.filter((one) => one.kind !== "gone").map((one) => one.text).join("\n"), after);
  }
});

test("texts of many lines are compared, however many", () => {
  const many = (from) => Array.from({ length: 5000 }, (_, at) => String(at + from)).join("\n");
  assert.equal(lineDiff(many(0), many(9000)).length, 10_000);
});

test("an excerpt leaves out what is the same", () => {
  const lines = lineDiff("1\n2\n3\n4\n5\n6\n7\n8", "1\n2\n3\n4\nx\n6\n7\n8");
  assert.deepEqual(excerpt(lines, 1).map((one) => one?.text ?? "…"), ["…", "4", "5", "x", "6", "…"]);
  assert.deepEqual(excerpt(lineDiff("a", "a"), 1), [null]);
});

test("fields differ by how they are written", () => {
  const before = parse('{"a":1,"b":18446744073709551615,"c":[1]}');
  assert.deepEqual(changedFields(before, parse('{"a":1,"b":18446744073709551614,"d":null}')), ["b", "c", "d"]);
});

test("two people's changes are merged field by field", () => {
  const base = { a: 1, b: 1, c: 1, d: 1 };
  const found = merged(base, { a: 2, b: 1, c: 2 }, { a: 1, b: 3, c: 3, d: 1 });
  assert.deepEqual(found.data, { a: 2, b: 3, c: 2 });
  assert.deepEqual(found.both, ["c"]);
  assert.deepEqual(merged(base, { ...base, a: 2 }, { ...base, a: 2 }).both, []);
});

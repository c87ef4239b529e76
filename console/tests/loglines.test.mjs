import assert from "node:assert/strict";
import test from "node:test";
import { NO_LINES, readOn } from "../src/loglines";

/** Pages of so many lines; the cursor is the number of lines before. */
function pages(...lengths) {
  let next = 0;
  const asked = [];
  const ask = async (after) => {
    asked.push(after.after ?? null);
    const length = lengths.shift() ?? 0;
    const data = Array.from({ length }, () => ({ n: (next += 1) }));
    return { data, cursor: length ? String(next) : (after.after ?? null) };
  };
  return { ask, asked };
}

test("a page with fewer lines than a page can have is not the last one", async () => {
  const kept = { ...NO_LINES };
  const { ask, asked } = pages(3, 1000, 2);
  const found = await readOn(kept, false, ask);
  assert.equal(found.lines.length, 1005);
  assert.deepEqual(asked, [null, "3", "1003", "1005"]);
});

test("only the last lines are kept, and the others are counted", async () => {
  const found = await readOn({ ...NO_LINES }, false, pages(1000, 1000, 1000, 1000, 1000, 7).ask);
  assert.equal(found.lines.length, 5000);
  assert.equal(found.dropped, 7);
  assert.equal(found.lines[0].n, 8);
});

test("later lines are read after the cursor", async () => {
  const kept = { ...NO_LINES };
  await readOn(kept, false, pages(2).ask);
  const later = pages(1);
  const found = await readOn(kept, false, later.ask);
  assert.deepEqual(later.asked, ["2", "1"]);
  assert.equal(found.lines.length, 3);
});

test("nothing more is read for lines that nobody wants any more", async () => {
  const kept = { ...NO_LINES };
  const { ask, asked } = pages(1, 1, 1);
  const found = await readOn(kept, false, async (after) => {
    kept.over = asked.length === 1;
    return ask(after);
  });
  assert.equal(asked.length, 2);
  assert.equal(found.lines.length, 1);
});

test("lines of a run that logs faster than they are read are shown after a second", async (t) => {
  let clock = 0;
  t.mock.method(performance, "now", () => clock);
  const kept = { ...NO_LINES };
  const { ask, asked } = pages(...Array(20).fill(1));
  const slow = (after) => {
    clock += 400;
    return ask(after);
  };
  const found = await readOn(kept, true, slow);
  assert.equal(found.more, true);
  assert.deepEqual(asked, [null, "1", "2"]);
  const rest = await readOn(kept, false, slow);
  assert.equal(rest.more, false);
  assert.equal(rest.lines.length, 20);
});

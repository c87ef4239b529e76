import assert from "node:assert/strict";
import test from "node:test";
import { parse } from "../src/json";
import { yaml } from "../src/yaml";

test("a task is written as people write it", () => {
  const task = {
    id: "invoice 7",
    commands: [
      { method: "do.echo", params: { data: "[render.number]" } },
      { method: "sh.run", params: { script: "set -e\n\nmake  all\n" }, tags: [["a", 1], []] },
    ],
    cron: "*/5 * * * *",
    kws: {},
    enabled: true,
    next_task: null,
  };
  assert.equal(
    yaml(task),
    [
      "id: invoice 7",
      "commands:",
      "  - method: do.echo",
      "    params:",
      '      data: "[render.number]"',
      "  - method: sh.run",
      "    params:",
      "      script: |",
      "        set -e",
      "",
      "        make  all",
      "    tags:",
      "      - - a",
      "        - 1",
      "      - []",
      'cron: "*/5 * * * *"',
      "kws: {}",
      "enabled: true",
      "next_task: null",
    ].join("\n"),
  );
});

test("text that YAML would read as something else is quoted", () => {
  for (const text of ["", "yes", "No", "null", "y", "1", "1e5", "0x1f", "2026-01-01", "12:30", "~", "- a", "a: b", "a #b", " a", "a ", "=", "<<"]) {
    assert.equal(yaml(text), JSON.stringify(text));
  }
  assert.equal(yaml({ on: "a", "b c": "\u0085\u2028" }), '"on": a\nb c: "\\u0085\\u2028"');
});

test("numbers stay as they were written, with the point that YAML wants", () => {
  assert.equal(yaml(parse("[18446744073709551615, 1.50, 1e5, 1.5E-7, 1E+30, -3]")), "- 18446744073709551615\n- 1.50\n- 1.0e+5\n- 1.5e-7\n- 1.0e+30\n- -3");
});

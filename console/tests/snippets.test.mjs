import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import test from "node:test";
import { parse } from "../src/json";
import { asCli, asCurl, asPython, literal, quoted } from "../src/snippets";

const HOSTILE = `it's $(touch x) \`y\` "z" \\n\n\u2028 \u00e9 \ud83d\ude00 --`;

test("a shell reads a quoted text as it was", () => {
  for (const text of [HOSTILE, "", "plain-1", "-x", "a b", "'", "$HOME"]) {
    assert.equal(execFileSync("sh", ["-c", `printf %s ${quoted(text)}`]).toString(), text);
  }
});

test("curl sends the call, and takes the token from the environment", () => {
  const call = { method: "tasks.reset", params: { id: HOSTILE, big: parse("18446744073709551615") } };
  const text = asCurl(call, "http://h:1/base/", true);
  const shown = execFileSync("sh", ["-c", text.replace(/^curl/, "printf '%s\\n'")], { env: { ...process.env, KAIJU_TOKEN: "t" } }).toString();
  assert.ok(shown.includes("Authorization: Bearer t"));
  assert.ok(shown.includes("http://h:1/base/rpc"));
  assert.ok(shown.includes('"big":18446744073709551615'));
  assert.ok(!asCurl(call, "http://h/", false).includes("Bearer"));
});

test("Python reads the same value", () => {
  assert.equal(literal(parse('{"a": [null, true, 1.50, 18446744073709551615, "\\u2028é"]}')), '{"a": [None, True, 1.50, 18446744073709551615, "\\u2028é"]}');
  const text = asPython({ method: "tasks.get", params: { id: "a" } }, "http://h:1/", false);
  assert.match(text, /Client\("http:\/\/h:1"\) as client:\n {8}print\(await client\.tasks\.get\(id="a"\)\)/);
  assert.match(asPython({ method: "tasks.get", params: {} }, "http://h/", true), /token=os\.environ\["KAIJU_TOKEN"\]/);
});

test("the command line says the same, or there is none", () => {
  assert.equal(asCli({ method: "tasks.reset", params: { id: "-x y" } }), "kaiju-tasks task reset -- '-x y'");
  assert.equal(asCli({ method: "tasks.reset", params: { id: "a", reason: "it's" } }), `kaiju-tasks task reset --reason='it'"'"'s' -- a`);
  assert.equal(
    asCli({ method: "tasks.list", params: { conditions: { status: ["FAILED", "IDLE"], id: { like: "a%" } }, sort: ["-created"], limit: 100 } }),
    `kaiju-tasks task list --status=failed,idle --where='id={"like":"a%"}' --sort=-created --limit=100`,
  );
  assert.equal(asCli({ method: "tasks.m_restart_from", params: { conditions: { app_name: "b" }, stage: "failed", dry_run: true } }),
    `kaiju-tasks task restart-from --where='app_name="b"' --failed --dry-run`);
  assert.match(asCli({ method: "tasks.create", params: { data: { id: "a" } } }), /^kaiju-tasks task create - <<'TASK'\n/);
  assert.equal(asCli({ method: "streams.list", params: {} }), null);
  assert.equal(asCli({ method: "tasks.list", params: { cursor: "x" } }), null);
});

// The least that an executor needs, in Node 22 without packages: to be read, and translated. docs/protocol.md has all
// rules. The manager fills templates, decides conditions and checks parameters (`fill`). Left out are progress, reports in
// batches, several managers, and methods that do not stop: ../node has them.
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

const object = (properties, ...required) => ({ type: "object", properties, required, additionalProperties: false });
const commands = { // the parameters as JSON Schema, and the code; `signal` is aborted when the stage is stopped
  "do.echo": { params: object({ data: {} }, "data"), run: ({ data }) => data },
  "do.sleep": {
    params: object({ seconds: { type: "number" } }, "seconds"),
    run: ({ seconds }, signal) => sleep(seconds * 1000, seconds, { signal }),
  },
  "do.fail": { params: object({}), run: () => { throw new Error("as asked"); } },
};
const { KAIJU_URL = "http://127.0.0.1:8077", KAIJU_TOKEN } = process.env;
const url = `${KAIJU_URL.replace(/^http/, "ws").replace(/\/$/, "")}/rpc`, id = `minimal-${randomUUID()}`, instance = randomUUID();
const headers = KAIJU_TOKEN ? { Authorization: `Bearer ${KAIJU_TOKEN}` } : {};
const tasks = new Map(), past = new Set(), calls = new Map(); // by the token of the lease; calls by the id of the request
const now = () => performance.now() / 1000, keyOf = ({ id, job_id, epoch, nonce }) => JSON.stringify({ id, job_id, epoch, nonce });
let terms = { ping_interval: 5, lease_seconds: 15, orphan_seconds: 300 }, socket, end, connected, leaving = false;
let connects = 0, number = 0, patience = 1, ticked = Date.now(), confirmed = -Infinity, stoodStill = -Infinity, heard = now();
let answer, answered = new Promise((done) => (answer = done)); // resolved when a connect or ping is answered

async function connection() {
  const ws = (socket = new WebSocket(url, { headers })), ended = new Promise((done) => (end = done));
  const late = setTimeout(end, 1000 * (patience = Math.min(2 * patience, 10)));
  let opened = false;
  ws.onopen = () => (opened = true) && ws === socket && keep(ws, late);
  ws.onmessage = ({ data }) => ws === socket && take(JSON.parse(data));
  ws.onclose = ws.onerror = end;
  await ended;
  clearTimeout(late);
  [socket, connected, confirmed] = [null, false, -Infinity];
  ws.close();
  for (const call of calls.values()) call.answer({});
  calls.clear();
  for (const [key, task] of tasks) if (task.exclusive) drop(key); // under `concurrency`: it begins elsewhere
  if (!opened) look(); // WebSocket does not say why it was refused
}

async function look() {
  const asked = await fetch(url.replace(/^ws/, "http"), { headers, signal: AbortSignal.timeout(5000) }).catch(() => null);
  if ([401, 403].includes(asked?.status)) console.error(`${url} refuses the token`), process.exit(77);
  await asked?.body?.cancel().catch(() => null);
}

async function keep(ws, late) { // connect, then keep the leases
  const methods = Object.entries(commands).map(([method, { params }]) => ({ method, params }));
  const announced = { app_names: ["default"], commands: methods, fill: true, instance, attempt: ++connects };
  const { result, error } = await beat("manager.connect", announced);
  if ([401, 403].includes(error?.code)) console.error(error.message), process.exit(77);
  if (!result?.fill) return ws === socket && end();
  clearTimeout(late);
  [terms, connected, patience] = [result, true, 0.5];
  for (const lease of result.revoked) drop(keyOf(lease));
  for (; ws === socket; await sleep(1000 * terms.ping_interval)) {
    if ((await beat("manager.ping")).error?.code === 404) [...tasks.keys()].forEach(drop), ws === socket && end(); // expelled
  }
}

async function beat(method, announced) {
  const sent = now(), holding = [...tasks.keys()].map((key) => JSON.parse(key));
  const { result, error } = await ask(method, { id, capacity: leaving ? 0 : 16, holding, ...announced });
  if (result) {
    [heard, confirmed] = [now(), sent > stoodStill ? sent : confirmed];
    answer();
    answered = new Promise((done) => (answer = done));
  }
  return { result, error };
}

function ask(method, params) { // the answer has a `result` or an `error`, and neither if the connection ends before it
  if (socket?.readyState !== WebSocket.OPEN) return {};
  socket.send(JSON.stringify({ jsonrpc: "2.0", id: ++number, method, params }));
  return new Promise((done) => calls.set(number, { answer: done, seconds: 0 }));
}

function take({ id, method, params, result, error }) {
  if (calls.has(id)) calls.get(id).answer({ result, error }), calls.delete(id);
  else if (method === "executor.run") params.tasks.forEach(begin);
  else if (method === "executor.revoke") params.leases.forEach((lease) => drop(keyOf(lease)));
}

const still = () => Math.abs(Date.now() - ticked) > 250 * terms.lease_seconds;
const mayBegin = () => !still() && now() - confirmed < 0.8 * terms.lease_seconds;

setInterval(() => { // has the process or its machine stood still, is the manager silent, or gone for long?
  if (still()) [stoodStill, confirmed] = [now(), -Infinity];
  ticked = Date.now();
  for (const call of calls.values()) if ((call.seconds += 0.1) > 2 * terms.ping_interval) end();
  if (now() - heard > terms.orphan_seconds) [...tasks.keys()].forEach(drop);
}, 100);

function begin(task) {
  const key = keyOf(task), others = [...tasks].filter(([, other]) => other.id === task.id);
  const newer = others.some(([, other]) => other.job_id === task.job_id && other.epoch > task.epoch);
  if (tasks.has(key) || past.has(key) || newer) return;
  for (const [other] of others) drop(other);
  tasks.set(key, { ...task, stop: new AbortController() });
  work(key, tasks.get(key));
}

function drop(key) { // the lease has ended: stop, and report nothing more
  tasks.get(key)?.stop.abort();
  tasks.delete(key);
  past.add(key);
  setTimeout(() => past.delete(key), 300_000);
}

async function work(key, { commands: [command], stage, exec_seconds, stop }) {
  while (command) { // each stage after the acknowledgement of the one before it
    while (tasks.has(key) && !leaving && !mayBegin()) await Promise.race([sleep(20), answered]);
    if (!tasks.has(key)) return;
    const began = now(), outcome = leaving ? { state: "released" } : await run(command, exec_seconds, stop);
    const report = { ...JSON.parse(key), stage, seconds: now() - began, ...outcome };
    ({ command, stage, exec_seconds } = await acknowledged(key, report));
  }
  drop(key);
}

const finite = (name, value) => { // JSON.stringify would write NaN and infinities as null
  if (typeof value === "number" && !Number.isFinite(value)) throw new TypeError(`the result is not JSON: ${name || "it"} is ${value}`);
  return value;
};

async function run({ method, params = {}, max_timeout }, left, stop) {
  const failed = (type, message) => ({ state: "failed", error: { type, message: message.slice(0, 2000) } });
  if (!Object.hasOwn(commands, method)) return failed("unknown_method", `there is no method ${method}`);
  const limit = Math.min(left, max_timeout ?? left), timeout = limit < left ? "stage_timeout" : "exec_timeout";
  let timer;
  const late = new Promise((done) => (timer = setTimeout(done, 1000 * limit, failed(timeout, "the stage ran longer than it may"))));
  const ended = (async () => {
    const result = (await commands[method].run(params, stop.signal)) ?? null;
    const large = Buffer.byteLength(JSON.stringify(result, finite)) > terms.max_result_bytes;
    return large ? failed("result_too_large", "the result is too large") : { state: "finished", result };
  })().catch((error) => failed("execution_error", String(error?.message || error)));
  const outcome = await Promise.race([ended, late]);
  clearTimeout(timer);
  if (outcome.state === "failed") stop.abort();
  return outcome;
}

async function acknowledged(key, report) { // repeated until it is
  while (tasks.has(key)) {
    const { result, error } = connected ? await ask("manager.write_stage", { reports: [report] }) : {};
    if (result && result.acks[0].state !== "again") return result.acks[0];
    if ([413, -32600, -32602, -32700].includes(error?.code)) { // it cannot be stored
      if (report.state === "failed") break;
      report = { ...report, state: "failed", result: null, error: { type: "execution_error", message: error.message } };
    } else await sleep(100); // no connection, or a manager without its database
  }
  return {};
}

process.on("SIGTERM", async () => { // let running stages end, give the rest back, sign off, and exit
  leaving = true;
  beat("manager.ping");
  for (const last = now() + 10; tasks.size && now() < last; ) await sleep(20);
  await Promise.race([ask("manager.suspend_executor", { id }), sleep(2000)]);
  process.exit(0);
});

for (;; await sleep(100)) await connection();

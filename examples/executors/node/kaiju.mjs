// An executor for kaiju_tasks (docs/protocol.md) in Node 22 or newer, without dependencies.
// The manager fills templates, decides conditions and checks parameters (`fill`): this only runs methods.
import { randomUUID } from "node:crypto";
import { hostname } from "node:os";

const REPORTS_MAX = 500, REPORT_BYTES = 2 ** 20, FORGET_SECONDS = 300, STUCK_SECONDS = 5;
const REFUSED = new Set([413, -32602, -32600, -32700]), REFUSED_BY_CLOSE = new Set([1003, 1007, 1008, 1009]);
const UNSTORABLE = "the error of the stage cannot be stored";
const now = () => performance.now() / 1000;
const sleep = (seconds) => new Promise((wake) => setTimeout(wake, seconds * 1000));
const leaseOf = ({ id, job_id, epoch, nonce }) => ({ id, job_id, epoch, nonce });
const keyOf = (lease) => JSON.stringify([lease.id, lease.job_id, lease.epoch, lease.nonce]);

/** Fails the stage with an error type of the protocol, such as `abort` or `invalid_params`. */
export class Failure extends Error {
  constructor(type, message, data) {
    super(message);
    Object.assign(this, { type, data });
  }
}

export class Executor {
  #id = `${hostname()}-${process.pid}-${randomUUID().slice(0, 8)}`;
  #instance = randomUUID();
  #attempt = 0;
  #terms = { ping_interval: 5, lease_seconds: 15, reconnect_grace: 5, orphan_seconds: 300, max_result_bytes: 2 ** 20 };
  #end = () => {};
  #socket = null;
  #connected = false;
  #calls = 0;
  #pending = new Map();
  #tasks = new Map();
  #past = new Map();
  #outbox = [];
  #sending = false;
  #pause = 0;
  #status = "ACTIVE";
  #stuck = new Set();
  #worked = false;
  #leaving = false;
  #sentAt = -Infinity; // when the last answered connect or ping was sent
  #wallAt = 0;
  #answeredAt = now();
  #closedAt = -Infinity;
  #tickedAt = now();
  #stoodStillAt = -Infinity;
  #pingedAt = 0;
  #pausedUntil = 0;
  #patience = 1;
  #turn = 0;
  #said = "";

  /** commands: { method: { run(params, context), params: JSON Schema, doc } } */
  constructor({ urls, token, streams, commands, capacity = 16, data = {} }) {
    Object.assign(this, { urls, token, streams, commands, data, most: capacity });
  }

  get capacity() {
    return this.#leaving || this.#status !== "ACTIVE" ? 0 : Math.max(0, this.most - this.#stuck.size);
  }

  /** Serve until SIGTERM or SIGINT. */
  async run() {
    for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => this.stop());
    this.#tick();
    for (let pause = 0.1; ; this.#turn++) {
      const began = now();
      this.#worked = false;
      await this.#serve(this.urls[this.#turn % this.urls.length]);
      const good = this.#worked || now() - began > 10;
      pause = good ? 0.1 : Math.min(2 * pause, 5, this.#terms.lease_seconds / 4, this.#terms.reconnect_grace / 4);
      await sleep(pause * (0.5 + Math.random() / 2));
    }
  }

  // -- one connection --

  #serve(url) {
    return new Promise((done) => {
      const headers = this.token ? { Authorization: `Bearer ${this.token}` } : {}, place = url.replace(/\/$/, "") + "/rpc";
      const socket = (this.#socket = new WebSocket(place.replace(/^http/, "ws"), { headers }));
      let opened = false;
      const limit = setTimeout(() => this.#end(), 1000 * this.#patience);
      this.#patience = Math.min(2 * this.#patience, 10);
      this.#end = (code) => { // at once: a manager that is gone does not answer the close
        this.#end = () => {};
        clearTimeout(limit);
        if (this.#connected) this.#closedAt = now();
        if (!opened) this.#unreachable(place.replace(/^ws/, "http"), headers);
        this.#connected = false;
        socket.close();
        for (const call of this.#pending.values()) call.answer({ lost: true, code });
        this.#pending.clear();
        done();
      };
      const own = (react) => (event) => socket === this.#socket && react(event);
      socket.onopen = own(() => {
        opened = true;
        this.#connect(limit);
      });
      socket.onmessage = own((event) => this.#take(JSON.parse(event.data)));
      socket.onclose = own((event) => this.#end(event.code));
      socket.onerror = own(() => this.#end());
    });
  }

  /** WebSocket does not say why it was refused. */
  async #unreachable(place, headers) {
    const answer = await fetch(place, { headers, signal: AbortSignal.timeout(5000) }).catch(() => null);
    if ([401, 403].includes(answer?.status)) this.#exit(77, `${place} refuses the token: HTTP status ${answer.status}`);
    await answer?.body?.cancel().catch(() => null);
    if (!this.#connected) this.#say(`${place} cannot be reached; trying again`);
  }

  #call(method, params) {
    return new Promise((answer) => {
      const id = ++this.#calls;
      this.#pending.set(id, { answer, sentAt: now() });
      this.#socket.send(JSON.stringify({ jsonrpc: "2.0", id, method, params }));
    });
  }

  #holding() {
    return [...this.#tasks.values()].map((task) => task.lease);
  }

  async #connect(limit) {
    const sent = [now(), Date.now() / 1000];
    const commands = Object.entries(this.commands).map(([method, { params, doc }]) => ({ method, params, doc }));
    const answer = await this.#call("manager.connect", {
      id: this.#id, protocol: 1, app_names: this.streams, commands, capacity: this.capacity, holding: this.#holding(),
      host: hostname(), pid: process.pid, instance: this.#instance, attempt: ++this.#attempt, fill: true, data: this.data,
    });
    if (answer.error && [401, 403].includes(answer.error.code)) this.#exit(77, answer.error.message);
    if (answer.error?.data?.field === "protocol") this.#exit(77, answer.error.message);
    if (!answer.result?.fill) { // try the next one
      this.#say(answer.error?.message ?? "the manager is too old to fill templates");
      return this.#end();
    }
    clearTimeout(limit);
    this.#terms = answer.result;
    this.#connected = true;
    this.#say(`connected to manager ${answer.result.manager_id} at ${this.urls[this.#turn % this.urls.length]}`);
    this.#patience = Math.max(0.1, answer.result.reconnect_grace / 4);
    for (const lease of answer.result.revoked) this.#revoke(lease);
    this.#heard(sent, answer.result);
    this.#flush();
  }

  async #ping() {
    if (!this.#connected) return;
    const sent = [now(), Date.now() / 1000];
    this.#pingedAt = sent[0];
    const answer = await this.#call("manager.ping", { id: this.#id, capacity: this.capacity, holding: this.#holding() });
    if (answer.error?.code === 404) this.#expelled();
    if (answer.result) this.#heard(sent, answer.result);
  }

  /** A connect or a ping was answered: the leases stand. */
  #heard([sentAt, wallAt], { status }) {
    [this.#sentAt, this.#wallAt, this.#answeredAt] = [sentAt, wallAt, now()];
    this.#closedAt = Infinity;
    this.#setStatus(status);
    for (const task of this.#tasks.values()) if (task.waits) this.#begin(task);
  }

  #setStatus(status) {
    const before = this.capacity;
    this.#status = status;
    if (this.capacity !== before) this.#ping();
  }

  #take(message) {
    const call = this.#pending.get(message.id);
    if (call) {
      this.#pending.delete(message.id);
      return call.answer(message);
    }
    if (message.method === "executor.run") message.params.tasks.forEach((task) => this.#assigned(task));
    if (message.method === "executor.revoke") message.params.leases.forEach((lease) => this.#revoke(lease));
    if (message.method === "executor.drain") this.#setStatus("DRAINING");
    if (message.method === "executor.resume") this.#setStatus("ACTIVE");
  }

  #expelled() {
    for (const task of [...this.#tasks.values()]) this.#drop(task);
    this.#end();
  }

  /** Look at the clocks, several times in each lease. */
  #tick() {
    const at = now(), stood = at - this.#tickedAt, { lease_seconds: lease, ping_interval: interval } = this.#terms;
    if (stood > lease / 4) [this.#stoodStillAt, this.#answeredAt] = [at, this.#answeredAt + stood];
    this.#tickedAt = at;
    const oldest = this.#pending.values().next().value;
    if (oldest && at - oldest.sentAt > 2 * interval + Math.max(0, this.#stoodStillAt - oldest.sentAt)) this.#end();
    if (at - this.#answeredAt > this.#terms.orphan_seconds) for (const task of [...this.#tasks.values()]) this.#drop(task);
    if (at - this.#sentAt > 0.8 * lease || at - this.#closedAt > 0.8 * this.#terms.reconnect_grace)
      for (const task of this.#tasks.values()) if (task.exclusive) this.#release(task);
    if (at - this.#pingedAt > interval) this.#ping();
    for (const [key, since] of this.#past) if (at - since > FORGET_SECONDS) this.#past.delete(key); else break;
    setTimeout(() => this.#tick(), (Math.min(lease, 4 * interval) / 24) * 1000);
  }

  // -- tasks --

  #assigned(task) {
    const lease = leaseOf(task), key = keyOf(lease);
    if (this.#tasks.has(key) || this.#past.has(key)) return;
    for (const other of this.#tasks.values())
      if (other.lease.id === lease.id) {
        if (other.lease.job_id === lease.job_id && other.lease.epoch > lease.epoch) return this.#past.set(key, now());
        this.#drop(other);
      }
    const { stage, attempt = 1, cycle = 0, exec_seconds: left, exclusive = false, commands: [command] } = task;
    const held = { key, lease, stage, attempt, cycle, left, exclusive, command, waits: false, abort: null, entries: [] };
    this.#tasks.set(key, held);
    if (this.#leaving) this.#release(held);
    else this.#begin(held);
  }

  #mayBegin() {
    const at = now(), { lease_seconds: lease, reconnect_grace: grace } = this.#terms;
    const still = at - this.#tickedAt > lease / 4 || this.#sentAt < this.#stoodStillAt;
    const moved = Math.abs(Date.now() / 1000 - this.#wallAt) > 0.8 * lease; // the machine may have slept
    return !still && !moved && at - this.#sentAt < 0.8 * lease && at - this.#closedAt < 0.8 * grace;
  }

  #begin(task) {
    task.waits = !this.#mayBegin();
    if (task.waits) this.#ping();
    else this.#work(task);
  }

  async #work(task) {
    const abort = (task.abort = new AbortController()), began = now(), { command } = task;
    let outcome, timer, work;
    try {
      const late = new Promise((_, fail) => {
        const arm = () => {
          clearTimeout(timer);
          const of_stage = command.max_timeout ?? Infinity, seconds = Math.min(of_stage, task.left) - (now() - began);
          const type = of_stage < task.left ? "stage_timeout" : "exec_timeout";
          timer = setTimeout(() => fail(new Failure(type, "the stage ran longer than it may")), 1000 * Math.max(0, seconds));
        };
        task.extended = (by, left) => { // the manager may say what the run has left in all
          task.left = left == null ? task.left + by : left + now() - began;
          arm();
        };
        arm();
      });
      if (!Object.hasOwn(this.commands, command.method))
        throw new Failure("unknown_method", `this executor has no method ${command.method}`);
      work = Promise.resolve(this.commands[command.method].run(command.params ?? {}, this.#context(task, abort.signal)));
      const result = (await Promise.race([work, late])) ?? null;
      if (Buffer.byteLength(JSON.stringify(result, finite)) > this.#terms.max_result_bytes)
        throw new Failure("result_too_large", `the result has more than ${this.#terms.max_result_bytes} bytes as JSON`);
      outcome = { state: "finished", result };
    } catch (error) {
      const own = error instanceof Failure;
      const data = own ? error.data : { exception: error?.name, traceback: String(error?.stack).slice(0, 4000) };
      const message = String(error?.message || error).slice(0, 2000);
      outcome = { state: "failed", error: { type: own ? error.type : "execution_error", message, data } };
    }
    clearTimeout(timer);
    const seconds = now() - began;
    if (abort.signal.aborted) return this.#watch(work); // dropped or released
    if (/timeout/.test(outcome.error?.type)) {
      abort.abort();
      this.#watch(work);
    }
    task.left -= seconds;
    this.#report(task, { ...outcome, seconds });
  }

  /** A method that does not stop keeps its place; after a while a supervisor has to start a new process. */
  #watch(work) {
    const timer = setTimeout(() => this.stop({ grace: 0, code: 75 }), STUCK_SECONDS * 1000);
    this.#stuck.add(work);
    this.#ping();
    Promise.allSettled([work]).then(() => {
      clearTimeout(timer);
      this.#stuck.delete(work);
      this.#ping();
    });
  }

  /** What a method gets beside its parameters. `signal` is aborted when the stage is over. */
  #context(task, signal) {
    const { lease, stage, attempt, cycle } = task;
    let last = -Infinity;
    return {
      signal, stage, attempt, task_id: lease.id, job_id: lease.job_id,
      idempotency_key: `${lease.job_id}${cycle ? `.${cycle}` : ""}/${stage}`,
      progress: (done, total = null, message = null) => {
        if (signal.aborted || now() - last < 0.2) return;
        last = now();
        this.#report(task, { state: "progress", result: { done, total, message } });
      },
      extend: (seconds) => !signal.aborted && this.#report(task, { state: "extend", seconds }),
    };
  }

  #release(task) {
    if (task.entries.some((entry) => entry.ends)) return; // what it has reported is sent
    task.waits = false;
    task.abort?.abort();
    this.#report(task, { state: "released" });
  }

  #revoke(lease) {
    const key = keyOf(lease), task = this.#tasks.get(key);
    if (task) this.#drop(task);
    else this.#past.set(key, now());
  }

  /** The lease has ended: stop, and report nothing more. */
  #drop(task) {
    task.waits = false;
    task.abort?.abort();
    for (const entry of task.entries) entry.dead = true;
    this.#tasks.delete(task.key);
    this.#past.set(task.key, now());
  }

  // -- reports --

  #report(task, fields) {
    const ends = !["progress", "extend"].includes(fields.state);
    const entry = { task, ends, alone: false, dead: false, report: { ...task.lease, stage: task.stage, ...fields } };
    task.entries.push(entry);
    this.#outbox.push(entry);
    queueMicrotask(() => this.#flush());
  }

  /** Send what waits, in one request at a time: at most 500 reports, and about 1 MiB. */
  async #flush() {
    if (this.#sending || !this.#connected || now() < this.#pausedUntil) return;
    this.#outbox = this.#outbox.filter((entry) => !entry.dead);
    const batch = [];
    for (let bytes = 0; this.#outbox.length && batch.length < REPORTS_MAX; batch.push(this.#outbox.shift())) {
      bytes += JSON.stringify(this.#outbox[0].report).length;
      if (batch.length && (bytes > REPORT_BYTES || this.#outbox[0].alone || batch[0].alone)) break;
    }
    if (!batch.length) return;
    this.#sending = true;
    const answer = await this.#call("manager.write_stage", { reports: batch.map((entry) => entry.report) });
    this.#sending = false;
    if (answer.result) {
      this.#pause = 0;
      batch.forEach((entry, index) => entry.dead || this.#acknowledged(entry, answer.result.acks[index]));
    } else {
      this.#outbox.unshift(...batch);
      if (answer.error?.code === 404) this.#expelled();
      else if (REFUSED.has(answer.error?.code) || REFUSED_BY_CLOSE.has(answer.code)) this.#isolate(batch, answer.error);
      else if (answer.error) this.#wait();
    }
    this.#flush();
  }

  /** The manager could not store them now. */
  #wait() {
    this.#pause = Math.min(2 * this.#pause || 0.1, 5, this.#terms.lease_seconds / 4);
    this.#pausedUntil = now() + this.#pause;
    setTimeout(() => this.#flush(), 1000 * this.#pause + 1);
  }

  /** One of them cannot be stored: send each alone, and the one that is refused alone as a failure. */
  #isolate(batch, error) {
    const [entry] = batch;
    if (!entry.alone) for (const one of batch) one.alone = true;
    else if (!entry.ends || entry.report.error?.message === UNSTORABLE) this.#drop(entry.task);
    else {
      const type = error?.code === 413 ? "result_too_large" : "execution_error";
      const message = entry.report.state === "failed" ? UNSTORABLE : "the manager has refused the report of the stage";
      entry.report = { ...entry.report, state: "failed", result: null, error: { type, message } };
    }
  }

  #acknowledged(entry, ack) {
    const { task } = entry;
    if (ack.state === "again") return this.#outbox.push(entry);
    task.entries.splice(task.entries.indexOf(entry), 1);
    if (entry.ends) {
      this.#worked ||= entry.report.state !== "released";
      if (ack.state !== "ok" || !ack.command) return this.#drop(task);
      Object.assign(task, { stage: ack.stage, command: ack.command, left: ack.exec_seconds, attempt: 1 });
      if (this.#leaving) this.#release(task);
      else this.#begin(task);
    } else if (ack.state !== "ok") this.#drop(task);
    else if (entry.report.state === "extend" && entry.report.stage === task.stage) {
      if (task.command.max_timeout) task.command.max_timeout += entry.report.seconds;
      task.extended(entry.report.seconds, ack.exec_seconds);
    }
  }

  // -- the end --

  /** Let running stages end, give the rest back, sign off, and exit. */
  async stop({ grace = 10, code = 0 } = {}) {
    if (this.#leaving) return;
    this.#leaving = true;
    this.#ping();
    for (const task of this.#tasks.values()) if (task.waits) this.#release(task);
    await this.#until(() => !this.#tasks.size, grace);
    for (const task of this.#tasks.values()) this.#release(task);
    await this.#until(() => !this.#outbox.length && !this.#sending, Math.min(5, this.#terms.lease_seconds / 2));
    const bye = this.#connected && this.#call("manager.suspend_executor", { id: this.#id, reason: "terminated" });
    await Promise.race([bye, sleep(2)]);
    this.#exit(code);
  }

  async #until(done, seconds) {
    for (const end = now() + seconds; !done() && now() < end; ) await sleep(0.02);
  }

  /** For people; the same line only once in a row. */
  #say(text) {
    if (text !== this.#said) console.error((this.#said = text));
  }

  #exit(code, message) {
    if (message) console.error(message);
    process.exit(code);
  }
}

/** Refuses what JSON.stringify would write as null. */
function finite(key, value) {
  if (typeof value === "number" && !Number.isFinite(value)) throw new TypeError(`the result is not JSON: ${key} is ${value}`);
  return value;
}

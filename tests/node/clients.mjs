// Calls a manager with JSON-RPC clients of other people. Prints what each call came to, as JSON.
import jayson from "jayson";
import { JSONRPCClient } from "json-rpc-2.0";
import { Client, HTTPTransport, RequestManager, WebSocketTransport } from "@open-rpc/client-js";

const port = Number(process.argv[2]);
const url = `http://127.0.0.1:${port}/rpc`;
const socketUrl = `ws://127.0.0.1:${port}/rpc`;

// The result, or the error's code and data.
async function outcome(call) {
  try {
    return { result: await call() };
  } catch (error) {
    return { code: error.code, type: error.data?.type, field: error.data?.field };
  }
}

// What a notification did: nobody says when it is done.
async function seen(send, id, priority) {
  for (let tries = 0; tries < 200; tries += 1) {
    const task = await send("tasks.get", { id });
    if (task.priority === priority) return task;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("the notification was not followed");
}

// What every client does alike; `send(method, params)` resolves or rejects.
async function story(name, send, notify) {
  const id = `made-by-${name}`;
  const task = { id, commands: [{ method: "do.echo", params: { data: { text: "ä\u{1f600}" } } }] };
  const said = {
    created: await outcome(() => send("tasks.create", { data: task })),
    taken: await outcome(() => send("tasks.create", { data: task })),
    ended: await outcome(() => send("tasks.wait", { id, timeout: 30 })),
    got: await outcome(() => send("tasks.get", { id })),
    missing: await outcome(() => send("tasks.get", { id: "nope" })),
    wrong: await outcome(() => send("tasks.create", { data: { commands: [{ method: 7 }] } })),
    unknown: await outcome(() => send("tasks.no_such_method", {})),
    sent: await outcome(() => send("tasks.message", { id, data: null })),
  };
  await notify("tasks.update", { id, data: { priority: 7 } });
  said.notified = await outcome(() => seen(send, id, 7));
  return said;
}

async function withJayson() {
  const client = jayson.client.http({ host: "127.0.0.1", port, path: "/rpc" });
  const raw = (...sent) =>
    new Promise((resolve, reject) =>
      client.request(...sent, (error, answer) => (error ? reject(error) : resolve(answer))),
    );
  const send = async (method, params) => {
    const answer = await raw(method, params);
    if (answer.error) throw answer.error;
    return answer.result;
  };
  const said = await story("jayson", send, (method, params) => raw(method, params, null));
  const batch = await raw([
    client.request("tasks.exists", { id: "made-by-jayson" }, undefined, false),
    client.request("tasks.get", { id: "nope" }, undefined, false),
    client.request("tasks.exists", { id: "nope" }, null, false),
  ]);
  said.batch = batch.map((answer) => answer.result ?? answer.error.code);
  return said;
}

async function withJsonRpc2() {
  const client = new JSONRPCClient(async (request) => {
    const response = await fetch(url, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(request),
    });
    if (response.status === 200) client.receive(await response.json());
    else if (response.status !== 204) throw new Error(`HTTP ${response.status}`);
  });
  const said = await story(
    "json-rpc-2.0",
    (method, params) => client.request(method, params),
    async (method, params) => client.notify(method, params),
  );
  const one = (id, params) => ({ jsonrpc: "2.0", id, method: "tasks.exists", params });
  const batch = await client.requestAdvanced([
    one("first", { id: "made-by-json-rpc-2.0" }),
    one(2, { id: "nope" }),
    { jsonrpc: "2.0", id: 3, method: "tasks.get", params: { id: "nope" } },
  ]);
  said.batch = batch.map((answer) => [answer.id, answer.result ?? answer.error.code]);
  return said;
}

async function withClientJs(name, transport) {
  const client = new Client(new RequestManager([transport]));
  const send = (method, params) => client.request({ method, params });
  const notify = (method, params) => client.notify({ method, params });
  const said = await story(name, send, notify);
  client.startBatch();
  const calls = [
    outcome(() => send("tasks.exists", { id: `made-by-${name}` })),
    outcome(() => send("tasks.get", { id: "nope" })),
  ];
  client.stopBatch();
  said.batch = (await Promise.all(calls)).map((one) => one.result ?? one.code);
  client.close();
  return said;
}

const said = {
  jayson: await withJayson(),
  "json-rpc-2.0": await withJsonRpc2(),
  "client-js over HTTP": await withClientJs("client-js-http", new HTTPTransport(url)),
  "client-js over a WebSocket": await withClientJs(
    "client-js-socket",
    new WebSocketTransport(socketUrl),
  ),
};
console.log(JSON.stringify(said));
process.exit(0);

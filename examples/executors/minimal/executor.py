"""The least that an executor needs, without any package: to be read, and translated.

The manager fills templates, decides conditions and checks parameters (`fill`). Left out are reports
in batches, drains, and stopping runs with `concurrency` before their lease ends: ../node has them.
docs/protocol.md has all rules.
"""

import asyncio
import base64
import json
import os
import signal
import sys
import time
import uuid
from urllib.parse import urlsplit

URL = urlsplit(os.environ.get("KAIJU_URL", "http://127.0.0.1:8077"))
TOKEN = os.environ.get("KAIJU_TOKEN")


async def fail(message="as asked"):
    raise RuntimeError(message)


async def echo(data):
    return data


OPEN, CLOSED = {"type": "object"}, {"type": "object", "additionalProperties": False}
COMMANDS = {  # method: (function, JSON Schema of its parameters)
    "do.echo": (echo, {**CLOSED, "properties": {"data": {}}, "required": ["data"]}),
    "do.sleep": (
        lambda seconds: asyncio.sleep(seconds, seconds),
        {**CLOSED, "properties": {"seconds": {"type": "number"}}},
    ),
    "do.fail": (fail, OPEN),
}


class Socket:
    """A WebSocket (RFC 6455) for text frames."""

    async def open(self):
        self.reader, self.writer = await asyncio.open_connection(
            URL.hostname, URL.port or 80, limit=2**26
        )
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            f"GET {URL.path.rstrip('/')}/rpc HTTP/1.1",
            f"Host: {URL.netloc}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
            *[f"Authorization: Bearer {TOKEN}"] * bool(TOKEN),
        ]
        self.writer.write("\r\n".join([*lines, "", ""]).encode())
        status = (await self.reader.readuntil(b"\r\n\r\n")).split(b" ")[1]
        if status in (b"401", b"403"):
            sys.exit("the manager refuses the token")
        if status != b"101":
            raise ConnectionError(status)

    def send(self, data, opcode=1):
        size = len(data)
        length = bytes([128 | size]) if size < 126 else bytes([128 | 127]) + size.to_bytes(8, "big")
        self.writer.write(bytes([128 | opcode]) + length + bytes(4) + data)  # masked with zeros

    async def receive(self):
        message = b""
        while True:
            first, second = await self.reader.readexactly(2)
            size = second & 127
            if size > 125:
                size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
            data, opcode = await self.reader.readexactly(size), first & 15
            if opcode == 8:
                raise ConnectionError("closed by the manager")
            if opcode == 9:
                self.send(data, 10)
            elif opcode < 3:
                message += data
                if first & 128:
                    return json.loads(message)


class Executor:
    def __init__(self):
        self.id, self.instance, self.connects, self.calls = (
            f"minimal-{uuid.uuid4()}",
            str(uuid.uuid4()),
            0,
            0,
        )
        self.socket, self.connected, self.answers = None, asyncio.Event(), {}
        self.tasks, self.past, self.leaving = {}, set(), False  # by the token of the lease
        self.terms = {"ping_interval": 5.0, "lease_seconds": 15.0}
        self.confirmed = self.stood_still = 0.0
        self.ticked = time.monotonic()

    async def run(self):
        asyncio.get_running_loop().add_signal_handler(
            signal.SIGTERM, lambda: asyncio.ensure_future(self.leave())
        )
        ticking = asyncio.ensure_future(self.tick())
        while not ticking.done():
            socket = Socket()
            try:
                await asyncio.wait_for(socket.open(), 2)
                self.socket = socket
                await asyncio.wait(
                    parts := [
                        asyncio.ensure_future(self.read()),
                        asyncio.ensure_future(self.keep()),
                    ],
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for part in parts:
                    part.cancel()
                await asyncio.gather(*parts, return_exceptions=True)
                socket.writer.close()
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                pass
            self.socket, self.confirmed = None, 0.0
            self.connected.clear()
            for answer in self.answers.values():
                if not answer.done():
                    answer.set_result(None)
            self.answers.clear()
            await asyncio.sleep(0.1)

    async def ask(self, method, **params):
        """The answer of the manager; None if the connection has ended."""
        if self.socket is None:
            return None
        self.calls += 1
        answer = self.answers[self.calls] = asyncio.get_running_loop().create_future()
        self.socket.send(
            json.dumps(
                {"jsonrpc": "2.0", "id": self.calls, "method": method, "params": params}
            ).encode()
        )
        return await answer

    async def read(self):
        while True:
            message = await self.socket.receive()
            if (answer := self.answers.pop(message.get("id"), None)) is not None:
                if not answer.done():
                    answer.set_result(message)
            elif message.get("method") == "executor.run":
                for task in message["params"]["tasks"]:
                    self.take(task)
            elif message.get("method") == "executor.revoke":
                for lease in message["params"]["leases"]:
                    self.drop(token(lease))

    async def keep(self):
        """Connect, then keep the leases. The end of this is the end of the connection."""
        self.connects += 1
        commands = [{"method": name, "params": schema} for name, (_, schema) in COMMANDS.items()]
        answer = await self.pinged(
            "manager.connect",
            app_names=["default"],
            commands=commands,
            capacity=16,
            fill=True,
            instance=self.instance,
            attempt=self.connects,
        )
        self.terms = answer["result"]
        self.connected.set()
        for lease in self.terms["revoked"]:
            self.drop(token(lease))
        while True:
            answer = await self.pinged("manager.ping", capacity=0 if self.leaving else 16)
            if "error" in answer:
                for lease in list(self.tasks) if answer["error"]["code"] == 404 else []:
                    self.drop(lease)
                return
            await asyncio.sleep(self.terms["ping_interval"])

    async def pinged(self, method, **params):
        sent, holding = time.monotonic(), [lease(key) for key in self.tasks]
        call = self.ask(method, id=self.id, holding=holding, **params)
        answer = await asyncio.wait_for(call, 2 * self.terms["ping_interval"])
        if "result" in answer and sent > self.stood_still:
            self.confirmed = sent
        return answer

    async def tick(self):
        while True:
            if time.monotonic() - self.ticked > self.terms["lease_seconds"] / 4:
                self.stood_still, self.confirmed = time.monotonic(), 0.0
            self.ticked = time.monotonic()
            await asyncio.sleep(self.terms["lease_seconds"] / 16)

    async def lease_stands(self):
        """Wait until a ping has confirmed the leases, after a break."""
        while not self.may_begin():
            if self.leaving:
                return
            await asyncio.sleep(0.05)

    def may_begin(self):
        now, seconds = time.monotonic(), self.terms["lease_seconds"]
        return now - self.ticked < seconds / 4 and now - self.confirmed < 0.8 * seconds

    def take(self, task):
        key = token(task)
        if key not in self.tasks and key not in self.past:
            for other in [other for other in self.tasks if other[0] == key[0]]:
                self.drop(other)
            self.tasks[key] = asyncio.ensure_future(self.work(key, task))

    def drop(self, key):
        self.past.add(key)
        if (work := self.tasks.pop(key, None)) is not None:
            work.cancel()

    async def work(self, key, task):
        """Run the stages of a lease, each after the acknowledgement of the one before it."""
        command, stage, left = task["commands"][0], task["stage"], task["exec_seconds"]
        while command is not None:
            await self.lease_stands()
            began = time.monotonic()
            outcome = {"state": "released"} if self.leaving else await self.outcome(command, left)
            report = {**lease(key), "stage": stage, "seconds": time.monotonic() - began, **outcome}
            ack = await self.report(report)
            command, stage, left = ack.get("command"), ack.get("stage"), ack.get("exec_seconds")
        self.past.add(key)
        self.tasks.pop(key, None)

    async def outcome(self, command, left):
        function, _ = COMMANDS.get(command["method"], (None, None))
        if function is None:
            return failed("unknown_method", f"there is no method {command['method']}")
        limit = min(left, command.get("max_timeout") or left)
        try:
            result = await asyncio.wait_for(function(**command.get("params", {})), limit)
            if len(json.dumps(result, allow_nan=False)) > self.terms["max_result_bytes"]:
                return failed("result_too_large", "the result is too large")
            return {"state": "finished", "result": result}
        except TimeoutError:
            return failed(
                "stage_timeout" if limit < left else "exec_timeout",
                "the stage ran longer than it may",
            )
        except Exception as error:
            return failed("execution_error", f"{type(error).__name__}: {error}")

    async def report(self, report):
        """Repeat a report until it is acknowledged."""
        while True:
            await self.connected.wait()
            answer = await self.ask("manager.write_stage", reports=[report])
            if answer is not None and "result" in answer:
                (ack,) = answer["result"]["acks"]
                if ack["state"] != "again":
                    return ack
            elif answer is not None and answer["error"]["code"] in (413, -32600, -32602, -32700):
                if report["state"] == "failed":
                    return {}
                report = {
                    **report,
                    "result": None,
                    **failed("execution_error", answer["error"]["message"]),
                }
            else:  # no connection, or a manager without its database
                await asyncio.sleep(0.1)

    async def leave(self):
        """Let running stages end, give the rest back, sign off, and exit."""
        self.leaving = True
        if self.tasks:
            await asyncio.wait(list(self.tasks.values()), timeout=10)
        await asyncio.wait_for(self.ask("manager.suspend_executor", id=self.id), 2)
        os._exit(0)  # what still runs goes back to the stream


def token(lease):
    return lease["id"], lease["job_id"], lease["epoch"], lease["nonce"]


def lease(key):
    return dict(zip(("id", "job_id", "epoch", "nonce"), key, strict=True))


def failed(kind, message):
    return {"state": "failed", "error": {"type": kind, "message": message}}


if __name__ == "__main__":
    asyncio.run(Executor().run())

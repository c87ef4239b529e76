"""A manager whose answers a case decides, and what an executor has sent to it."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

from kaiju_tasks.conformance.filled import Filled

__all__ = ["Deviation", "Doubtful", "Json", "Manager", "Sent", "Server"]

Json = dict[str, Any]

PING_SECONDS = 0.5
LEASE_SECONDS = 3 * PING_SECONDS
GRACE_SECONDS = 1.0
MAX_RESULT_BYTES = 1024 * 1024
END_STATES = ("finished", "skipped", "failed", "released")


class Deviation(Exception):
    """The executor does not do what the protocol says. The message is a sentence for people."""


class Doubtful(Deviation):
    """A machine that stood still for a moment would show the same, so the case is run again."""


class Sent(msgspec.Struct):
    """A request of the executor.

    :param connection: the number of the connection that it came by, from 1
    """

    method: str
    params: Json
    id: Any
    connection: int


class Manager:
    """Answers an executor as a manager does, unless a case wants otherwise.

    :param seconds: how long to wait for what the executor must do
    :ivar sent: all that it has sent, in order
    :ivar held: methods that get no answer
    :ivar errors: methods that are answered with this error
    :ivar refuse: decides on a request of reports: an error, or None
    :ivar closes: decides on a request of reports: the code to close the connection with, or None
    :ivar acks: the states with which reports are acknowledged, by task and stage
    :ivar status: of the executor
    :ivar fills: whether the executor leaves the filling of commands to the manager
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.sent: list[Sent] = []
        self.held: set[str] = set()
        self.errors: dict[str, Json] = {}
        self.refuse: Callable[[list[Json]], Json | None] = lambda reports: None
        self.closes: Callable[[list[Json]], int | None] = lambda reports: None
        self.acks: dict[tuple[str, int], str] = {}
        self.status = "ACTIVE"
        self.orphan_seconds = 300.0
        self.connections = 0
        self.socket: web.WebSocketResponse | None = None
        self._changed = asyncio.Event()
        self.fills = False
        self._announced: Json = {}
        self._filled: dict[tuple[Any, ...], Filled] = {}
        self._last: dict[str, int] = {}
        self._epochs = itertools.count(1)

    # -- what the executor does ----------------------------------------------------------

    async def until(self, done: Callable[[], Any], what: str, seconds: float | None = None) -> Any:
        """Wait until something is true.

        :param what: ends the sentence "the executor has not … within … seconds"
        :raises Deviation: it does not become true
        """
        seconds = self.seconds if seconds is None else seconds
        try:
            async with asyncio.timeout(seconds):
                while not (value := done()):
                    self._changed.clear()
                    await self._changed.wait()
                return value
        except TimeoutError:
            raise Deviation(f"it has not {what} within {seconds:g} seconds") from None

    async def never(self, done: Callable[[], Any], what: str, seconds: float) -> None:
        """Watch that something does not become true.

        :param what: ends the sentence "the executor has …"
        :raises Deviation: it becomes true
        """
        try:
            await self.until(done, what, seconds)
        except Deviation:
            return
        raise Deviation(f"it has {what}")

    async def connect(self, number: int = 1) -> Json:
        """Wait until the executor has connected so often. Returns what it announced."""
        connects = await self.until(
            lambda: (found := self.of("manager.connect"))[number - 1 :] and found, "connected"
        )
        params: Json = connects[number - 1].params
        return params

    def of(self, method: str) -> list[Sent]:
        """The requests of a method, in order."""
        return [sent for sent in self.sent if sent.method == method]

    def reports(self, task: Json | None = None) -> list[Json]:
        """The reports of a task, or all, in order and with repetitions."""
        found = [
            report for sent in self.of("manager.write_stage") for report in sent.params["reports"]
        ]
        return [report for report in found if task is None or report["id"] == task["id"]]

    def ends(self, task: Json) -> list[Json]:
        """The reports of a task that end a stage."""
        return [report for report in self.reports(task) if report["state"] in END_STATES]

    async def end(self, task: Json, number: int = 1) -> Json:
        """Wait for the report that ends the stage with this number, counted from 1."""
        what = f"reported the end of stage {number - 1} of {task['id']!r}"
        found = await self.until(lambda: self.ends(task)[number - 1 :], what)
        report: Json = found[0]
        return report

    # -- what the manager does -----------------------------------------------------------

    def task(self, *commands: Json, **fields: Any) -> Json:
        """A task. Its last stage is acknowledged as `released`, the others as `ok`."""
        epoch = next(self._epochs)
        task: Json = {
            "id": f"task-{epoch}",
            "job_id": f"job-{epoch}",
            "epoch": epoch,
            "nonce": f"nonce-{epoch}",
            "app_name": "default",
            "stage": 0,
            "stages": len(commands),
            "commands": list(commands),
            "exec_seconds": 300.0,
        }
        task |= fields
        self._last[task["id"]] = task["stage"] + len(commands) - 1
        return task

    async def push(self, *tasks: Json) -> None:
        """Send tasks. For an executor with `fill`, the first command of each is filled; what it
        has nothing to do with is reported as if it had."""
        if self.fills:
            tasks = tuple(first for task in tasks if (first := self._first(task)) is not None)
        if tasks:
            await self.notify("executor.run", {"tasks": list(tasks)})

    def _first(self, task: Json) -> Json | None:
        token = tuple(lease_of(task).values())
        if token not in self._filled:
            self._filled[token] = Filled(task, self._announced)
        first = self._filled[token].first()
        self._report_own(self._filled[token])
        return first

    def _report_own(self, filled: Filled) -> None:
        """Take the manager's own reports for reports of the executor."""
        reports, filled.own = filled.own, []
        if reports:
            self.sent.append(Sent("manager.write_stage", {"reports": reports}, None, 0))
            self._changed.set()

    async def revoke(self, *tasks: Json) -> None:
        """Revoke the leases of tasks."""
        await self.notify("executor.revoke", {"leases": [lease_of(task) for task in tasks]})

    async def notify(self, method: str, params: Json) -> None:
        """Send a notification."""
        await self.send({"jsonrpc": "2.0", "method": method, "params": params})

    async def send(self, message: Any) -> None:
        """Send any message. Nothing happens while the executor is not connected."""
        if self.socket is not None and not self.socket.closed:
            with contextlib.suppress(ConnectionError):
                await self.socket.send_str(msgspec.json.encode(message).decode())

    async def cut(self) -> None:
        """Break the connection without a word."""
        socket, self.socket = self.socket, None
        if socket is not None and socket._req is not None and socket._req.transport is not None:
            socket._req.transport.abort()

    async def take(self, frame: str | bytes, connection: int) -> None:
        """Answer a frame of the executor."""
        try:
            message = msgspec.json.decode(frame)
        except msgspec.DecodeError as error:
            message = {"method": f"a frame that is no JSON ({error})"}
        if not isinstance(message, dict) or not isinstance(message.get("params", {}), dict):
            message = {"method": "a frame that is no request"}
        sent = Sent(
            str(message.get("method")), message.get("params", {}), message.get("id"), connection
        )
        self.sent.append(sent)
        self._changed.set()
        if sent.method in self.held:
            return
        refusal = self.errors.get(sent.method)
        if sent.method == "manager.write_stage":
            code = self.closes(sent.params.get("reports", []))
            if code is not None and self.socket is not None:
                await self.socket.close(code=code)
                return
        if sent.method == "manager.write_stage" and refusal is None:
            refusal = self.refuse(sent.params.get("reports", []))
        await self.answer(sent, refusal)

    async def answer(self, sent: Sent, refusal: Json | None = None) -> None:
        """Answer a request, which may have waited.

        :param refusal: the error; None if there is none
        """
        body = {"error": refusal} if refusal is not None else {"result": self._result(sent)}
        await self.send({"jsonrpc": "2.0", "id": sent.id, **body})

    def _result(self, sent: Sent) -> Any:
        match sent.method:
            case "manager.connect":
                self._announced, self.fills = sent.params, sent.params.get("fill") is True
                return {
                    "protocol": 1,
                    "manager_id": "conformance",
                    "status": self.status,
                    "ping_interval": PING_SECONDS,
                    "lease_seconds": LEASE_SECONDS,
                    "reconnect_grace": GRACE_SECONDS,
                    "orphan_seconds": self.orphan_seconds,
                    "max_result_bytes": MAX_RESULT_BYTES,
                    "max_frame_bytes": 8 * 1024 * 1024,
                    "revoked": [],
                    "fill": self.fills,
                    "a_field_of_a_newer_version": True,
                }
            case "manager.write_stage":
                return {"acks": [self._ack(report) for report in sent.params["reports"]]}
            case "manager.write_logs":
                return {"lines": sum(len(one["lines"]) for one in sent.params["logs"])}
            case _:
                return {"status": self.status}

    def _ack(self, report: Json) -> Json:
        key = (report["id"], report["stage"])
        if key in self.acks:
            return {"state": self.acks[key]}
        if report["state"] in ("progress", "extend"):
            return {"state": "ok"}
        if self.fills:
            return self._next(report)
        goes_on = report["state"] in ("finished", "skipped")
        last = report["stage"] >= self._last.get(report["id"], 0)
        return {"state": "ok" if goes_on and not last else "released"}

    def _next(self, report: Json) -> Json:
        """The acknowledgement with the next command of an executor with `fill`."""
        filled = self._filled.get(tuple(lease_of(report).values()))
        if report["state"] != "finished" or filled is None:
            return {"state": "released"}
        found = filled.after(report["stage"], report.get("result"))
        self._report_own(filled)
        if found is None:
            return {"state": "released"}
        stage, command = found
        return {"state": "ok", "exec_seconds": 300.0, "stage": stage, "command": command}

    def gone(self) -> None:
        """The connection has ended."""
        self._changed.set()


def lease_of(task: Json) -> Json:
    """The token of a task's lease."""
    return {name: task[name] for name in ("id", "job_id", "epoch", "nonce")}


class Server:
    """Listens for an executor; each case has its own manager behind it.

    :ivar url: the URL of the manager
    """

    def __init__(self) -> None:
        self.url = ""
        self.manager = Manager(0.0)

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listen on a free port of 127.0.0.1."""
        app = web.Application()
        app.router.add_get("/rpc", self._serve)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield
        finally:
            await self.manager.cut()
            await runner.cleanup()

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        manager = self.manager
        socket = web.WebSocketResponse(max_msg_size=8 * 1024 * 1024)
        await socket.prepare(request)
        manager.connections += 1
        number = manager.connections
        manager.socket = socket
        async for message in socket:
            if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                await manager.take(message.data, number)
        manager.gone()
        return socket

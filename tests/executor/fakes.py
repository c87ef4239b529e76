"""A manager, a wire and a clock for tests of the executor."""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from random import Random
from typing import Any

import msgspec
from msgspec import Raw

from kaiju_tasks.executor import Executor
from kaiju_tasks.executor.link import Link
from kaiju_tasks.executor.outbox import Outbox
from kaiju_tasks.executor.runner import Runner
from kaiju_tasks.executor.runtime import Runtime
from kaiju_tasks.executor.transport import ConnectionClosed
from kaiju_tasks.protocol import (
    Ack,
    AckState,
    Assignment,
    ConnectParams,
    ConnectResult,
    Lease,
    Report,
    ReportState,
    SegmentCommand,
    WriteStageParams,
)

MEANWHILE = (ReportState.PROGRESS, ReportState.EXTEND)


class Timer:
    def __init__(self, at: float, call: Callable[[], Any]) -> None:
        self.at, self.call, self.live = at, call, True

    def cancel(self) -> None:
        self.live = False


class FakeClock:
    """Time that moves when a test says so.

    :ivar stepped: the seconds by which the wall clock was set
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.stepped = 0.0
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()

    def time(self) -> float:
        return self.now

    def wall(self) -> float:
        return 1.8e9 + self.now + self.stepped

    def stand_still(self, seconds: float) -> None:
        """The process is stopped (SIGSTOP): time passes, and its timers are overdue afterwards."""
        self.now += seconds

    def sleep_machine(self, seconds: float) -> None:
        """The machine sleeps: time passes, but the timers of the event loop stand still."""
        self.now += seconds
        self._timers = [(at + seconds, order, timer) for at, order, timer in self._timers]
        for at, _, timer in self._timers:
            timer.at = at

    def call_later(self, seconds: float, callback: Callable[..., Any], *args: Any) -> Timer:
        timer = Timer(self.now + seconds, lambda: callback(*args))
        heapq.heappush(self._timers, (timer.at, next(self._order), timer))
        return timer

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        timer = self.call_later(seconds, set_done, woken)
        try:
            await woken
        finally:
            timer.cancel()

    async def advance(self, seconds: float) -> None:
        """Move time on, and let everything that becomes due happen in order."""
        end = self.now + seconds
        await settle()
        while self._timers and self._timers[0][0] <= end:
            at, _, timer = heapq.heappop(self._timers)
            self.now = max(self.now, at)
            if timer.live:
                timer.call()
                await settle()
        self.now = end
        await settle()


def set_done(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


async def settle(turns: int = 30) -> None:
    """Let everything happen that can happen without time."""
    for _ in range(turns):
        await asyncio.sleep(0)


class FakeManager:
    """Answers as a manager would, and remembers what it received.

    :ivar silent: methods that it does not answer
    :ivar unanswered: the method and the id of each request that it has not answered
    :ivar errors: methods that it answers with (code, message)
    :ivar ack: decides the ack of a report; None is the usual
    :ivar call: answers the calls of stages
    :ivar declared: the answer to declared schedules
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, Any]] = []
        self.reports: list[Report] = []
        self.batches: list[list[Report]] = []
        self.silent: set[str] = set()
        self.unanswered: list[tuple[str, int]] = []
        self.errors: dict[str, tuple[int, str]] = {}
        self.error_data: Any = None
        self.ack: Callable[[Report], Ack | None] = lambda report: None
        self.call: Callable[[Any], Any] = lambda params: None
        self.declared: Any = {"schedules": []}
        self.status = "ACTIVE"
        self.revoked: list[Lease] = []
        self.last_stage: dict[str, int] = {}
        self.send: Callable[[bytes], None] | None = None
        self.connections = 0
        self.ping_interval = 5.0
        self.reconnect_grace: float | None = None
        self.protocol = 1
        self.max_result_bytes = 1000
        self.orphan_seconds = 300.0

    def methods(self, method: str) -> list[Any]:
        return [params for name, params in self.requests if name == method]

    def outcomes(self, task_id: str | None = None) -> list[tuple[int, str]]:
        """(stage, state) of the reports that end stages."""
        return [
            (report.stage, str(report.state))
            for report in self.reports
            if report.state not in MEANWHILE and task_id in (None, report.id)
        ]

    def notify(self, method: str, params: Any) -> None:
        assert self.send is not None
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        self.send(msgspec.json.encode(message))

    def run(self, *tasks: Assignment) -> None:
        for task in tasks:
            self.last_stage[task.id] = task.stage + len(task.commands) - 1
        self.notify("executor.run", {"tasks": tasks})

    def revoke(self, *tasks: Assignment) -> None:
        self.notify("executor.revoke", {"leases": [lease_of(task) for task in tasks]})

    def take(self, frame: bytes | str) -> None:
        """A frame came from the executor."""
        message = msgspec.json.decode(frame)
        method, params = message["method"], message["params"]
        self.requests.append((method, params))
        if method in self.errors:
            code, text = self.errors[method]
            self.reply(
                message["id"], error={"code": code, "message": text, "data": self.error_data}
            )
            return
        result = self.result(method, params, frame)
        if method in self.silent:
            self.unanswered.append((method, message["id"]))
        else:
            self.reply(message["id"], result=result)

    def answer_late(self, **body: Any) -> None:
        """Answer the oldest unanswered request; with an empty result by default."""
        _, id = self.unanswered.pop(0)
        self.reply(id, **(body or {"result": {}}))

    def reply(self, id: int, **body: Any) -> None:
        if self.send is not None:
            self.send(msgspec.json.encode({"jsonrpc": "2.0", "id": id, **body}))

    def result(self, method: str, params: Any, frame: bytes | str) -> Any:
        match method:
            case "manager.connect":
                return ConnectResult(
                    protocol=self.protocol,
                    manager_id="m1",
                    ping_interval=self.ping_interval,
                    lease_seconds=self.ping_interval * 3,
                    reconnect_grace=self.reconnect_grace,
                    orphan_seconds=self.orphan_seconds,
                    max_result_bytes=self.max_result_bytes,
                    status=self.status,
                    revoked=self.revoked,
                )
            case "manager.write_stage":
                reports = msgspec.json.decode(frame, type=WriteFrame).params.reports
                self.batches.append(reports)
                self.reports += reports
                return {"acks": [self.ack(report) or self.usual(report) for report in reports]}
            case "manager.call":
                return self.call(params)
            case "manager.declare":
                return self.declared
            case _:
                return {"status": self.status}

    def usual(self, report: Report) -> Ack:
        if report.state in MEANWHILE:
            return Ack(AckState.OK)
        goes_on = report.state in (ReportState.FINISHED, ReportState.SKIPPED)
        last = report.stage >= self.last_stage.get(report.id, 0)
        return Ack(AckState.OK if goes_on and not last else AckState.RELEASED)


class WriteFrame(msgspec.Struct):
    params: WriteStageParams


class MemoryConnection:
    def __init__(self, manager: FakeManager) -> None:
        self._manager = manager
        self._frames: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.open = True
        self.refused = False

    async def send(self, frame: bytes) -> None:
        if not self.open:
            raise ConnectionClosed("broken")
        self._manager.take(frame)

    async def receive(self) -> bytes:
        frame = await self._frames.get() if self.open or not self._frames.empty() else None
        if frame is None:
            raise ConnectionClosed("broken", frame_refused=self.refused)
        return frame

    def put(self, frame: bytes) -> None:
        if self.open:
            self._frames.put_nowait(frame)

    def cut(self) -> None:
        self.open = False
        self._frames.put_nowait(None)

    async def close(self) -> None:
        self.cut()


class MemoryTransport:
    """A wire in memory.

    :ivar up: whether a manager can be reached
    :ivar urls: those of all attempts
    :ivar patience: the seconds that each attempt may take
    """

    def __init__(self, manager: FakeManager) -> None:
        self._manager = manager
        self.up = True
        self.urls: list[str] = []
        self.patience: list[float] = []
        self.connection: MemoryConnection | None = None

    async def connect(self, url: str, seconds: float) -> MemoryConnection:
        self.urls.append(url)
        self.patience.append(seconds)
        if not self.up:
            raise ConnectionClosed("nobody there")
        self.connection = MemoryConnection(self._manager)
        self._manager.send = self.connection.put
        self._manager.connections += 1
        return self.connection

    def cut(self) -> None:
        assert self.connection is not None
        self.connection.cut()

    async def close(self) -> None:
        return None


class Rig:
    """An executor's inside on a fake clock, linked to a fake manager."""

    def __init__(
        self,
        executor: Executor,
        *,
        concurrency: int = 8,
        threads: int | None = None,
        max_tasks: int | None = None,
        urls: tuple[str, ...] = ("memory:a",),
    ) -> None:
        self.clock = FakeClock()
        self.manager = FakeManager()
        self.wire = MemoryTransport(self.manager)
        self.runtime = Runtime(
            [executor], self.clock, threads=threads or concurrency, kill_grace=5.0
        )
        self.outbox = Outbox()
        self.runner = Runner(
            self.runtime, self.outbox, concurrency=concurrency, max_tasks=max_tasks
        )
        identity = ConnectParams(id="e1", app_names=[executor.app_name])
        self.link = Link(
            urls, identity, self.runner, self.wire, self.clock, Random(1), executor.schedules
        )
        self.stuck = 0
        self.runtime.on_stuck = self._count_stuck
        self.running: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def _count_stuck(self) -> None:
        self.stuck += 1

    async def __aenter__(self) -> "Rig":
        self.running = asyncio.create_task(self.link.run())
        await settle()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
        self.runner.drop_all()
        self.runtime.threads.close()
        await settle()

    async def do(self, *tasks: Assignment) -> list[Report]:
        """Push tasks and wait for what can happen without time."""
        before = len(self.manager.reports)
        self.manager.run(*tasks)
        await settle()
        return self.manager.reports[before:]


_epochs = itertools.count(1)


def command(method: str, **fields: Any) -> SegmentCommand:
    """A command; `params` and `condition` are JSON values."""
    for name in ("params", "condition"):
        if name in fields:
            fields[name] = Raw(msgspec.json.encode(fields[name]))
    return SegmentCommand(method, **fields)


def assignment(*commands: SegmentCommand, **fields: Any) -> Assignment:
    epoch = next(_epochs)
    values: dict[str, Any] = {
        "id": f"t{epoch}",
        "job_id": f"j{epoch}",
        "epoch": epoch,
        "nonce": f"n{epoch}",
        "app_name": "app",
        "stage": 0,
        "stages": len(commands),
        "commands": list(commands),
        "exec_seconds": 300.0,
    }
    return Assignment(**(values | fields))


def lease_of(task: Assignment) -> Lease:
    return Lease(task.id, task.job_id, task.epoch, task.nonce)


def result_of(report: Report) -> Any:
    return msgspec.json.decode(report.result)

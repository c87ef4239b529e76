"""Seeded disorder: frames lost with their connection, late, doubled, out of order.

Whatever the wire does, no stage begins twice or out of turn, and every task ends.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from kaiju_tasks.executor import Context, Executor
from kaiju_tasks.executor.transport import ConnectionClosed
from kaiju_tasks.protocol import Ack, AckState, Assignment, Report, ReportState
from tests.executor.fakes import FakeClock, FakeManager, Rig, assignment, command

STAGES = 4
TASKS = 12


class LossyConnection:
    """Delays every frame for a random time, doubles some, and breaks now and then."""

    def __init__(self, wire: "LossyWire") -> None:
        self._wire = wire
        self._frames: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.open = True

    async def send(self, frame: bytes) -> None:
        if not self.open:
            raise ConnectionClosed("broken")
        self._carry(lambda: self._wire.manager_takes(self, frame))

    def to_executor(self, frame: bytes) -> None:
        self._carry(lambda: self._frames.put_nowait(frame))

    def _carry(self, deliver: Callable[[], Any]) -> None:
        random = self._wire.random
        if random.random() < 0.02:
            self.cut()
        for _ in range(2 if random.random() < 0.2 else 1):
            self._wire.clock.call_later(random.random() * 0.5, self._arrive, deliver)

    def _arrive(self, deliver: Callable[[], Any]) -> None:
        if self.open:
            deliver()

    def cut(self) -> None:
        self.open = False
        self._frames.put_nowait(None)

    async def receive(self) -> bytes:
        frame = await self._frames.get()
        if frame is None:
            raise ConnectionClosed("broken")
        return frame

    async def close(self) -> None:
        self.cut()


class LossyWire:
    def __init__(self, manager: FakeManager, clock: FakeClock, random: Random) -> None:
        self._manager = manager
        self.clock = clock
        self.random = random

    async def connect(self, url: str, seconds: float) -> LossyConnection:
        connection = LossyConnection(self)
        self._manager.send = connection.to_executor
        return connection

    def manager_takes(self, connection: LossyConnection, frame: bytes) -> None:
        self._manager.send = connection.to_executor
        self._manager.take(frame)

    async def close(self) -> None:
        return None


class Ledger:
    """The manager's memory: which stage of each task is next."""

    def __init__(self) -> None:
        self.next: Counter[str] = Counter()

    def ack(self, report: Report) -> Ack:
        if report.state is ReportState.PROGRESS:
            return Ack(AckState.OK)
        assert report.state is ReportState.FINISHED
        assert report.stage <= self.next[report.id], "a stage ended before the one before it"
        self.next[report.id] = max(self.next[report.id], report.stage + 1)
        over = report.stage + 1 == STAGES
        return Ack(AckState.RELEASED if over else AckState.OK)


@pytest.mark.parametrize("seed", range(25))
async def test_every_stage_begins_once_and_every_task_ends(seed: int):
    random = Random(seed)
    begun: Counter[tuple[str, int]] = Counter()
    executor = Executor("app")

    @executor.command("step")
    async def step(ctx: Context) -> None:
        begun[ctx.task_id, ctx.stage] += 1
        ctx.progress(1)
        await rig.clock.sleep(random.random())

    rig = Rig(executor)
    ledger = Ledger()
    rig.manager.ack = ledger.ack
    rig.link._transport = LossyWire(rig.manager, rig.clock, random)
    tasks = [assignment(*[command("step")] * STAGES) for _ in range(TASKS)]
    async with rig:
        for _ in range(400):
            await rig.clock.advance(0.5)
            if rig.link.connected:
                push_what_is_not_held(rig, tasks, ledger)
            if all(ledger.next[task.id] == STAGES for task in tasks) and rig.runner.empty:
                break
    assert {task.id: ledger.next[task.id] for task in tasks} == {task.id: STAGES for task in tasks}
    assert max(begun.values()) == 1
    assert len(begun) == TASKS * STAGES
    assert rig.outbox.empty


def push_what_is_not_held(rig: Rig, tasks: list[Assignment], ledger: Ledger) -> None:
    held = {lease.id for lease in rig.runner.holding()}
    unbegun = [task for task in tasks if not ledger.next[task.id] and task.id not in held]
    if unbegun:
        rig.manager.run(*unbegun)

"""A process that was asked to end does not restart, and a restart evades no drain."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kaiju_tasks.embedded import MEMORY, embedded, link_executors
from kaiju_tasks.executor import Context, Executor
from kaiju_tasks.executor.process import run_executor
from kaiju_tasks.protocol import Assignment
from kaiju_tasks.settings import Settings
from tests.executor.fakes import (
    FakeClock,
    FakeManager,
    MemoryTransport,
    assignment,
    command,
    settle,
)

GRACE_SECONDS = 60.0
executor = Executor("app")
gates: dict[str, asyncio.Event] = {}


@executor.command("wait")
async def wait(gate: str) -> str:
    await gates.setdefault(gate, asyncio.Event()).wait()
    return gate


@executor.command("stubborn")
async def stubborn(ctx: Context, attempts: int = 1000) -> str:
    while ctx.attempt <= attempts and not gates.setdefault("stubborn", asyncio.Event()).is_set():
        try:
            await gates["stubborn"].wait()
        except asyncio.CancelledError:
            continue
    return "over"


class Running:
    """`run_executor` on a fake clock, linked to a fake manager."""

    def __init__(self, **options: Any) -> None:
        self.clock = FakeClock()
        self.manager = FakeManager()
        self.wire = MemoryTransport(self.manager)
        self.stop = asyncio.Event()
        self.restarts = 0
        self.task = asyncio.create_task(
            run_executor(
                executor,
                ["memory:a"],
                clock=self.clock,
                transport=self.wire,
                stop=self.stop,
                shutdown_grace=GRACE_SECONDS,
                kill_grace=5.0,
                restart=self._restart,
                handle_signals=False,
                **options,
            )
        )

    def _restart(self) -> None:
        self.restarts += 1

    async def do(self, *tasks: Assignment) -> None:
        await settle()
        self.manager.run(*tasks)
        await settle()

    async def terminate(self) -> None:
        """SIGTERM."""
        self.stop.set()
        await settle()

    async def ended(self) -> int:
        await self.clock.advance(GRACE_SECONDS + 20)
        return await self.task


@pytest.fixture(autouse=True)
async def stubborn_ends() -> AsyncIterator[None]:
    gates.clear()
    yield
    gates.setdefault("stubborn", asyncio.Event()).set()
    await settle()


def waiting() -> Assignment:
    return assignment(command("wait", params={"gate": "g"}))


def sticking() -> Assignment:
    return assignment(command("stubborn", max_timeout=1))


async def test_a_stuck_stage_neither_restarts_an_ending_process_nor_ends_the_grace_of_others():
    running, other = Running(), waiting()
    await running.do(other, sticking())
    await running.terminate()
    await running.clock.advance(30)
    assert running.manager.outcomes(other.id) == []
    gates["g"].set()
    assert await running.ended() == 0
    assert running.manager.outcomes(other.id) == [(0, "finished")]
    assert (running.restarts, running.manager.connections) == (0, 1)


async def test_a_process_that_is_about_to_restart_can_be_ended():
    running = Running()
    await running.do(waiting(), sticking())
    running.manager.silent.add("manager.write_stage")
    await running.clock.advance(6.5)
    assert not running.task.done()
    await running.terminate()
    assert await running.ended() == 0
    assert running.restarts == 0


async def test_an_ending_process_does_not_restart_after_max_tasks():
    running = Running(max_tasks=1)
    await running.do(waiting())
    await running.terminate()
    running.manager.silent.add("manager.suspend_executor")
    gates["g"].set()
    assert await running.ended() == 0
    assert running.restarts == 0


async def test_an_ending_process_does_not_restart_when_it_is_cut_off():
    running = Running()
    running.manager.orphan_seconds = 10.0
    await running.do(waiting())
    running.wire.up = False
    running.wire.cut()
    await running.terminate()
    assert await running.ended() == 0
    assert running.restarts == 0


@pytest.mark.parametrize("status", ["DRAINING", "SUSPENDED"])
async def test_a_drained_executor_with_a_stuck_stage_restarts_when_it_may_work_again(status):
    running, other = Running(), waiting()
    await running.do(other, sticking())
    running.manager.status = status
    await running.clock.advance(30)
    assert (running.restarts, running.manager.outcomes(other.id)) == (0, [])
    running.manager.status = "ACTIVE"
    await running.clock.advance(10)
    assert await running.task == 0
    assert running.restarts == 1


async def test_a_drained_executor_restarts_after_max_tasks_when_it_may_work_again():
    running = Running(max_tasks=1)
    await running.do(waiting())
    running.manager.status = "DRAINING"
    await running.clock.advance(10)
    gates["g"].set()
    await running.clock.advance(10)
    assert running.restarts == 0
    running.manager.status = "ACTIVE"
    await running.clock.advance(10)
    assert await running.task == 0
    assert running.restarts == 1


async def test_executors_inside_a_manager_go_on_after_a_stuck_stage():
    stuck_once = {"method": "stubborn", "params": {"attempts": 1}, "max_timeout": 0.1}
    data = {"app_name": "app", "commands": [stuck_once], "max_retries": 1, "retry_delay": 0.5}
    async with (
        embedded(Settings(db=MEMORY)) as inside,
        link_executors(inside, [executor], kill_grace=0.05),
    ):
        task = await inside.call("tasks.create", data=data)
        ended = await inside.call("tasks.wait", id=task["id"], timeout=30)
    assert ended["status"] == "FINISHED", ended

"""What commands depend on: opened before a stage or with the process, and closed again."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest

from kaiju_tasks import Context, Depends, Executor
from kaiju_tasks.errors import RetryAfter
from kaiju_tasks.executor.lifespans import lifespans
from tests.executor import commands
from tests.executor.fakes import Rig, assignment, command, result_of
from tests.support.wait import PATIENCE_SECONDS, wait_until

seen: list[str] = []
gate = threading.Event()
begun = threading.Event()


async def pool() -> AsyncIterator[str]:
    seen.append("pool opens")
    yield "pool"
    seen.append("pool closes")


Pool = Annotated[str, Depends(pool, scope="process")]


async def session(ctx: Context, pool: Pool) -> AsyncIterator[str]:
    seen.append("session opens")
    try:
        yield f"session of {pool} for {ctx.method}"
    finally:
        seen.append("session closes")


def number() -> Iterator[int]:
    yield 7
    seen.append("number ends")


async def awaited() -> str:
    return "awaited"


@asynccontextmanager
async def managed() -> AsyncIterator[str]:
    yield "managed"


def wrong() -> None:
    raise RetryAfter(5, "not ready")


Session = Annotated[str, Depends(session)]
executor = Executor("app")


@executor.command("read")
async def read(a: int, db: Session, n: int = Depends(number)) -> Any:  # type: ignore[assignment]
    seen.append("read")
    return [a, db, n]


@executor.command("twice")
async def twice(one: Session, other: Session) -> bool:
    return one is other


@executor.command("kinds")
async def kinds(
    a: Annotated[str, Depends(awaited)], b: Annotated[str, Depends(managed)]
) -> list[str]:
    return [a, b]


@executor.command("blocks")
def blocks(db: Session) -> None:
    begun.set()
    gate.wait(PATIENCE_SECONDS)
    seen.append("thread ends")


@executor.command("hangs")
async def hangs(db: Session) -> None:
    begun.set()
    await asyncio.Event().wait()


@executor.command("cannot")
async def cannot(x: Annotated[Any, Depends(wrong)]) -> None:
    seen.append("never")


executor.command("in_process", process=True)(commands.depending)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    seen.clear()
    gate.clear()
    begun.clear()
    async with lifespans([executor], exit_seconds=PATIENCE_SECONDS):
        assert seen == ["pool opens"]
        async with Rig(executor, concurrency=2) as rig:
            yield rig
            gate.set()
    assert seen.count("pool opens") == 1
    assert seen[-1] == "pool closes"
    assert executor.shared == {}


async def done(rig: Rig, name: str, **params: Any) -> Any:
    task = assignment(command(name, params=params))
    rig.manager.run(task)
    await wait_until(lambda: rig.manager.outcomes(task.id), "the stage ends")
    return rig.manager.reports[-1]


async def test_a_command_gets_what_it_depends_on(rig: Rig) -> None:
    assert result_of(await done(rig, "read", a=1)) == [1, "session of pool for read", 7]
    assert seen[1:] == ["session opens", "read", "number ends", "session closes"]


async def test_each_provider_is_opened_once_for_a_stage(rig: Rig) -> None:
    assert result_of(await done(rig, "twice")) is True
    assert seen.count("session opens") == 1


async def test_providers_are_awaited_and_entered(rig: Rig) -> None:
    assert result_of(await done(rig, "kinds")) == ["awaited", "managed"]


async def test_a_process_command_opens_what_it_depends_on_in_its_process(rig: Rig) -> None:
    assert result_of(await done(rig, "in_process")) == ["opened", "in_process"]


async def test_what_fails_to_open_fails_the_stage_with_its_error(rig: Rig) -> None:
    report = await done(rig, "cannot")
    assert "not ready" in report.error.message
    assert "never" not in seen


async def test_nothing_is_closed_under_a_thread_that_still_runs(rig: Rig) -> None:
    await rig.do(assignment(command("blocks", max_timeout=1)))
    await wait_until(begun.is_set, "the command runs")
    await rig.clock.advance(1)
    assert len(rig.manager.reports) == 1
    assert seen[-1] == "session opens"
    gate.set()
    await wait_until(lambda: seen[-1] == "session closes", "the session is closed")
    assert seen[-2] == "thread ends"


async def test_it_is_closed_when_the_stage_is_revoked(rig: Rig) -> None:
    task = assignment(command("hangs"))
    await rig.do(task)
    await wait_until(begun.is_set, "the command runs")
    rig.manager.revoke(task)
    await wait_until(lambda: seen[-1] == "session closes", "the session is closed")


async def test_it_is_no_parameter_for_callers(rig: Rig) -> None:
    report = await done(rig, "read", a=1, db="mine")
    assert "`db` is not a parameter of this command" in report.error.message
    (info,) = (one for one in executor.announced() if one.method == "read")
    assert set(info.params["properties"]) == {"a"}


def test_a_provider_with_other_parameters_is_refused() -> None:
    def provider(a: int) -> None: ...

    with pytest.raises(TypeError, match="gets no value for its parameter `a`"):
        Depends(provider)


def test_a_process_cannot_depend_on_a_stage() -> None:
    def of_stage(db: Session) -> None: ...

    def of_context(ctx: Context) -> None: ...

    with pytest.raises(TypeError, match="cannot depend on session, which is opened for each stage"):
        Depends(of_stage, scope="process")
    with pytest.raises(TypeError, match="gets no value for its parameter `ctx`"):
        Depends(of_context, scope="process")
    with pytest.raises(ValueError, match="`scope` must be 'stage' or 'process'"):
        Depends(awaited, scope="run")  # type: ignore[arg-type]

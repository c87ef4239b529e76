"""Runs the cases, each against a new process of the executor, behind a port of its own."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

from kaiju_tasks.conformance.cases import CASES, Case, Under
from kaiju_tasks.conformance.peer import Deviation, Doubtful, Manager, Server
from kaiju_tasks.conformance.report import Outcome, Report

__all__ = ["check_executor"]

RUNS_IN_DOUBT = 3


async def check_executor(
    command: Sequence[str],
    *,
    seconds: float = 10.0,
    only: Iterable[str] = (),
    jobs: int = 1,
    on_outcome: Callable[[Outcome], None] = lambda outcome: None,
) -> Report:
    """Check an executor.

    :param command: starts the executor; KAIJU_URL is the manager's URL, and `{url}` in the command
        is replaced by it
    :param seconds: how long to wait for what the executor must do
    :param only: names of cases; all by default
    :param jobs: how many cases run at a time, from 1. Each has an executor of its own
    :param on_outcome: called for each case, in their order
    :raises OSError: the command cannot be started
    """
    names = set(only)
    cases = [case for case in CASES if not names or case.name in names]
    places = asyncio.Semaphore(jobs)
    running = [asyncio.create_task(_in_place(places, case, command, seconds)) for case in cases]
    outcomes = []
    fill = False
    try:
        for case, task in zip(cases, running, strict=True):
            outcome, fills = await task
            fill |= fills
            if case.fill and not fill:
                continue
            outcomes.append(outcome)
            on_outcome(outcome)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    return Report(outcomes, fill)


async def _in_place(
    places: asyncio.Semaphore, case: Case, command: Sequence[str], seconds: float
) -> tuple[Outcome, bool]:
    """Run a case when there is a place for it. Returns also whether the executor has `fill`."""
    server = Server()
    async with places, server.listening():
        outcome = await _outcome(case, command, server, seconds)
        return outcome, server.manager.fills


async def _outcome(case: Case, command: Sequence[str], server: Server, seconds: float) -> Outcome:
    began = time.monotonic()
    problem = None
    for _ in range(RUNS_IN_DOUBT):
        try:
            await _run(case, command, server, seconds)
        except Doubtful as doubtful:
            problem = str(doubtful)
            continue
        except Deviation as deviation:
            problem = str(deviation)
        except (KeyError, TypeError, AttributeError) as error:
            problem = f"it has sent a message without a field, or with a wrong type: {error!r}"
        else:
            problem = None
        break
    return Outcome(case.level, case.name, case.rule, problem, time.monotonic() - began)


async def _run(case: Case, command: Sequence[str], server: Server, seconds: float) -> None:
    server.manager = manager = Manager(seconds)
    try:
        async with _started(command, server.url) as (process, start):
            if case.fill:
                await manager.connect()
            if manager.fills or not case.fill:
                await case.run(Under(manager, process, start))
    finally:
        await manager.cut()


Start = Callable[[], Awaitable[asyncio.subprocess.Process]]


@contextlib.asynccontextmanager
async def _started(
    command: Sequence[str], url: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, Start]]:
    """Start the executor. Yields its process, and what starts another."""
    processes: list[asyncio.subprocess.Process] = []

    async def start() -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *(part.replace("{url}", url) for part in command),
            env={**os.environ, "KAIJU_URL": url},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        processes.append(process)
        return process

    try:
        yield await start(), start
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

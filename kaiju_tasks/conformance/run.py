"""Runs the cases, each against a new process of the executor."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

from kaiju_tasks.conformance.cases import CASES, Case, Under
from kaiju_tasks.conformance.peer import Deviation, Manager, Server
from kaiju_tasks.conformance.report import Outcome, Report

__all__ = ["check_executor"]

LEAVE_SECONDS = 5.0


async def check_executor(
    command: Sequence[str],
    *,
    seconds: float = 10.0,
    only: Iterable[str] = (),
    on_outcome: Callable[[Outcome], None] = lambda outcome: None,
) -> Report:
    """Check an executor.

    :param command: starts the executor; KAIJU_URL is the manager's URL, and `{url}` in the command
        is replaced by it
    :param seconds: how long to wait for what the executor must do
    :param only: names of cases; all by default
    :param on_outcome: called after each case
    :raises OSError: the command cannot be started
    """
    names = set(only)
    outcomes = []
    fill = False
    server = Server()
    async with server.listening():
        for case in CASES:
            if not names or case.name in names:
                outcome = await _outcome(case, command, server, seconds)
                fill |= server.manager.fills
                if case.fill and not fill:
                    continue
                outcomes.append(outcome)
                on_outcome(outcome)
    return Report(outcomes, fill)


async def _outcome(case: Case, command: Sequence[str], server: Server, seconds: float) -> Outcome:
    began = time.monotonic()
    problem = None
    server.manager = manager = Manager(seconds)
    try:
        async with _started(command, server.url) as (process, start):
            if case.fill:
                await manager.connect()
            if manager.fills or not case.fill:
                await case.run(Under(manager, process, start))
    except Deviation as deviation:
        problem = str(deviation)
    except (KeyError, TypeError, AttributeError) as error:
        problem = f"it has sent a message without a field, or with a wrong type: {error!r}"
    finally:
        await manager.cut()
    return Outcome(case.level, case.name, case.rule, problem, time.monotonic() - began)


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

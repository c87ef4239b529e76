"""Registers cases, and starts what most of them begin with."""

import asyncio
import inspect
import signal
from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import Struct

from kaiju_tasks.conformance.peer import Deviation, Json, Manager
from kaiju_tasks.conformance.report import Level

__all__ = ["Case", "Run", "Under", "cases", "echo", "fail", "held", "sleep"]


class Under:
    """The executor under test.

    :ivar manager: what it is connected to
    :ivar process: its process
    :param start: starts another process of it, in the place of one that has ended
    """

    def __init__(
        self,
        manager: Manager,
        process: asyncio.subprocess.Process,
        start: Callable[[], Awaitable[asyncio.subprocess.Process]],
    ) -> None:
        self.manager = manager
        self.process = process
        self._start = start

    async def restart(self) -> None:
        """Kill its process, and start another."""
        self.process.kill()
        await self.process.wait()
        self.process = await self._start()

    async def works(self) -> None:
        """Wait until it has connected and has run a task.

        :raises Deviation: it does not
        """
        await self.manager.connect()
        await self.runs_on()

    async def runs_on(self) -> None:
        """Check that it runs a task now.

        :raises Deviation: it does not
        """
        task = self.manager.task(echo("on"))
        await self.manager.push(task)
        report = await self.manager.end(task)
        if report["state"] != "finished" or report.get("result") != "on":
            raise Deviation(f"it has reported a stage of do.echo as {report['state']!r}")

    async def started(self, task: Json) -> None:
        """Push a task of do.sleep, and wait until it is held.

        :raises Deviation: the executor does not hold it
        """
        await self.manager.push(task)
        since = len(self.manager.sent)
        await self.manager.until(
            lambda: held(self.manager, task, since),
            "named the running task in `holding` of a ping",
        )

    def stop(self) -> None:
        """Ask it to end: SIGTERM."""
        self.process.send_signal(signal.SIGTERM)

    async def ended(self) -> None:
        """Wait until its process has ended.

        :raises Deviation: it goes on
        """
        try:
            async with asyncio.timeout(self.manager.seconds):
                await self.process.wait()
        except TimeoutError:
            raise Deviation(
                f"its process has not ended within {self.manager.seconds:g} seconds"
            ) from None


def held(manager: Manager, task: Json, since: int) -> bool:
    """Whether a ping names the lease of a task, after so many requests."""
    return any(
        lease["id"] == task["id"] and lease["nonce"] == task["nonce"]
        for sent in manager.sent[since:]
        if sent.method == "manager.ping"
        for lease in sent.params.get("holding") or []
    )


Run = Callable[[Under], Awaitable[None]]


class Case(Struct, frozen=True):
    """One rule.

    :param run: plays the manager; raises Deviation if the executor does not keep the rule
    :param fill: the case is for executors with `fill` only
    """

    level: Level
    name: str
    rule: str
    run: Run
    fill: bool = False


def cases(level: Level, *runs: Run, fill: bool = False) -> tuple[Case, ...]:
    """Make cases of functions. The name is that of the function, the rule its docstring."""
    return tuple(
        Case(level, run.__name__.replace("_", "-"), inspect.getdoc(run) or "", run, fill)
        for run in runs
    )


def echo(data: Any, **fields: Any) -> Json:
    """A command that returns `data`."""
    return {"method": "do.echo", "params": {"data": data}, **fields}


def sleep(seconds: float, **fields: Any) -> Json:
    """A command that takes some seconds."""
    return {"method": "do.sleep", "params": {"seconds": seconds}, **fields}


def fail(**fields: Any) -> Json:
    """A command that fails."""
    return {"method": "do.fail", "params": {}, **fields}

"""Waiting for the end of a run, with as many long polls as needed."""

import asyncio
import math
from typing import Any

from kaiju_tasks.client.calls import Ask
from kaiju_tasks.client.outage import Outage, always
from kaiju_tasks.errors import Unavailable
from kaiju_tasks.types import ENDED

__all__ = ["Waiting"]

WAIT_SECONDS = 30.0
ANSWER_GRACE_SECONDS = 15.0
RUNS_LOOKED_AT = 10


class Waiting:
    """One wait for the end of a run.

    A manager that has never answered is asked briefly first: a poll that it interrupts is repeated
    only if the URL is known to be that of a manager.

    :param timeout: seconds; None waits forever
    """

    def __init__(self, ask: Ask, outage: Outage, id: str, timeout: float | None) -> None:
        self._ask = ask
        self._outage = outage
        self._id = id
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._until = math.inf if timeout is None else self._began + timeout
        self._interrupted = False

    async def run(self) -> dict[str, Any]:
        """Wait, and return the task when its run has ended or at the timeout."""
        while True:
            task, over = await self._outage.outlast(self._look, always, until=self._until)
            if over:
                return task

    async def _look(self) -> tuple[dict[str, Any], bool]:
        try:
            if self._interrupted and (ended := await self._ended_meanwhile()) is not None:
                return ended, True
            self._interrupted = False
            return await self._poll()
        except Unavailable:
            self._interrupted = True
            raise

    async def _poll(self) -> tuple[dict[str, Any], bool]:
        asked_at = self._loop.time()
        longest = WAIT_SECONDS if self._outage.answered else 0.0
        seconds = max(0.0, min(longest, self._until - asked_at))
        task = await self._ask(
            "tasks.wait",
            {"id": self._id, "timeout": seconds},
            seconds=seconds + ANSWER_GRACE_SECONDS,
        )
        now = self._loop.time()
        over = now - asked_at < seconds or task["status"] in ENDED or now >= self._until
        return task, over

    async def _ended_meanwhile(self) -> dict[str, Any] | None:
        """Return a scheduled task if its run has ended while the manager did not answer.

        Otherwise the next poll would wait for the run after it.
        """
        task: dict[str, Any] = await self._ask("tasks.get", {"id": self._id})
        if not (task["cron"] or task["every"]):
            return None
        info = await self._ask("system.info", {})
        began = info["now"] - (self._loop.time() - self._began)
        runs = await self._ask("tasks.runs", {"id": self._id, "limit": RUNS_LOOKED_AT})
        ended = any(run["status"] in ENDED and run["ended_at"] >= began for run in runs)
        return task if ended else None

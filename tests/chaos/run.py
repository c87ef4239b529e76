"""One run of the chaos: rounds of work under faults, each checked and deleted at its end."""

import asyncio
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from random import Random
from typing import Any

from kaiju_tasks import Client
from tests.chaos import ledger, tally
from tests.chaos.checker import (
    RECORDED,
    history_problems,
    ledger_problems,
    limit_problems,
    message_problems,
    moves,
)
from tests.chaos.faults import faults_of
from tests.chaos.strikes import Strikes
from tests.chaos.tally import Figures
from tests.chaos.workload import SHAPES, SLOTS, Shape, Workload, ends_well
from tests.chaos.world import APP, World

Json = dict[str, Any]
PAGE = 500
READERS = 3
COLUMNS = ["id", "status", "stage", "stages", "result", "error", "job_id"]


class Chaos:
    """Lets faults strike a world while it works, and checks what it did.

    :param names: the faults to strike; default is all that can strike this world. Without any, the
        work is only checked.
    :param shapes: of the tasks, in turn
    :ivar elsewhere: seconds from the kill of an executor until each stage that it ran had begun
        elsewhere, by the fault, for faults that struck alone
    :ivar stages: number of executions in the ledger
    :ivar problems: what was found wrong
    """

    def __init__(
        self,
        world: World,
        seed: int,
        names: list[str] | None = None,
        shapes: Sequence[Shape] = SHAPES,
    ) -> None:
        self._world = world
        self._random = Random(seed)
        self._seed = seed
        self._shapes = shapes
        faults = faults_of(world)
        chosen = {name: faults[name] for name in (faults if names is None else names)}
        self.strikes = Strikes(world, chosen, self._random)
        self._rounds = 0
        self.elsewhere: dict[str, list[float]] = defaultdict(list)
        self.stages = 0
        self.tasks = 0
        self.problems: list[str] = []

    async def round(self, tasks: int, most_open: int = 200, rate: float | None = None) -> None:
        """Run some tasks under faults until they have ended, and check them.

        :param rate: how many faults begin in a second, while others last; default is one after
            another, each timed
        """
        self._rounds += 1
        prefix = f"{self._seed}-{self._rounds}"
        workload = Workload(self._world, self._random, prefix, self._shapes)
        working = asyncio.create_task(workload.create(tasks, most_open))
        try:
            if rate is None:
                await self.strikes.alone(working)
            else:
                await self.strikes.together(working, rate)
            await working
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
        await self._check(workload, timed=rate is None)

    def figures(self, minutes: float, *, broken: bool = False) -> Figures:
        """What was done so far."""
        return Figures(
            minutes=minutes,
            faults=self.strikes.struck,
            tasks=self.tasks,
            stages=self.stages,
            violations=len(self.problems),
            broken=int(broken),
            outages=self.strikes.outages,
            recovery=self.strikes.recovery,
            elsewhere=self.elsewhere,
        )

    async def _check(self, workload: Workload, *, timed: bool) -> None:
        entries = list(ledger.read(self._world.ledger))
        found = await self._tasks()
        history = await self._history(found)
        self.problems += self._found_wrong(workload, entries, found, history)
        self.problems += self._world.broken
        self.stages += sum(entry.kind == "start" for entry in entries)
        self.tasks += len(found)
        if timed:
            for name, killed in self._world.killed_by.items():
                self.elsewhere[name] += moves(entries, killed)
        self._world.killed_by.clear()
        if not self.problems:
            await self._forget(list(found))

    def _found_wrong(
        self,
        workload: Workload,
        entries: list[ledger.Entry],
        found: dict[str, Json],
        history: dict[str, list[Json]],
    ) -> Iterator[str]:
        for id in workload.acknowledged.keys() - found.keys():
            yield f"the task {id} was acknowledged and does not exist"
        for id, task in found.items():
            yield from ends_well(task, history[id])
        records = [
            {**record, "task_id": id} for id, of_task in history.items() for record in of_task
        ]
        yield from ledger_problems(entries)
        yield from history_problems(entries, records)
        yield from limit_problems(entries, SLOTS, self._world.stops)
        consumed = [
            record
            for record in records
            if record["method"] == "_MESSAGE_" and record["outcome"] == "FINISHED"
        ]
        yield from message_problems(workload.sent, consumed)
        unknown = {record["method"] for record in records} - RECORDED
        assert unknown <= {"_TIMER_", "_MESSAGE_", "_TASKS_"}, unknown

    async def _tasks(self) -> dict[str, Json]:
        """All tasks of the stream, by id."""
        found: dict[str, Json] = {}
        cursor = None
        while True:
            page = await self._world.ask(partial(_page, cursor=cursor))
            found.update((task["id"], task) for task in page["data"])
            cursor = page["cursor"]
            if cursor is None:
                return found

    async def _history(self, found: dict[str, Json]) -> dict[str, list[Json]]:
        """The attempts of each task's run."""
        ids = list(found)
        parts = [ids[start : start + 100] for start in range(0, len(ids), 100)]
        free = asyncio.Semaphore(READERS)

        async def read(part: list[str]) -> list[list[Json]]:
            calls = [("tasks.stages", {"job_id": found[id]["job_id"]}) for id in part]
            async with free:
                return await self._world.ask(partial(Client.batch, calls=calls))

        answers = await asyncio.gather(*map(read, parts))
        return dict(zip(ids, chain.from_iterable(answers), strict=True))

    async def _forget(self, ids: list[str]) -> None:
        for start in range(0, len(ids), PAGE):
            part = ids[start : start + PAGE]
            await self._world.ask(partial(_delete, ids=part))
        os.truncate(self._world.ledger, 0)  # the executors append to it


@contextmanager
def recorded(chaos: Chaos, seed: int, path: Path | None) -> Iterator[None]:
    """Print at the end what a run has done, and add it to a file."""
    begun, broken = time.monotonic(), True
    try:
        yield
        broken = False
    finally:
        figures = chaos.figures((time.monotonic() - begun) / 60, broken=broken)
        if path is not None:
            entry = tally.Entry(seed=seed, command=" ".join(sys.argv), figures=figures)
            tally.append(path, entry)
        print("\n".join(tally.table(figures)), flush=True)


async def _page(client: Client, cursor: str | None) -> Json:
    page: Json = await client.tasks.list(
        conditions={"app_name": APP}, limit=PAGE, cursor=cursor, columns=COLUMNS
    )
    return page


async def _delete(client: Client, ids: list[str]) -> None:
    await client.tasks.m_delete(ids)

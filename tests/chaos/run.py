"""One run of the chaos: rounds of work under faults, each checked and deleted at its end."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import partial
from random import Random
from typing import Any

from kaiju_tasks import Client
from tests.chaos import ledger
from tests.chaos.checker import (
    RECORDED,
    history_problems,
    ledger_problems,
    limit_problems,
    message_problems,
)
from tests.chaos.faults import ALONE, faults_of
from tests.chaos.workload import SLOTS, Workload, ends_well
from tests.chaos.world import APP, World

Json = dict[str, Any]
PAUSE_SECONDS = (0.2, 1.5)
TWO_AT_ONCE = 0.15
PROBE_PAUSE_SECONDS = 0.1
PAGE = 500
COLUMNS = ["id", "status", "stage", "stages", "result", "error", "job_id"]


class Chaos:
    """Lets faults strike a world while it works, and checks what it did.

    :param names: the faults to strike; default is all that can strike this world. Without any, the
        work is only checked.
    :ivar struck: number of faults by name
    :ivar recovery: after each fault, the seconds until a new task had run, by name
    :ivar outages: the longest time that a new task took, of those that were created one after
        another from the beginning of each fault until it had healed, in seconds, by name
    :ivar stages: number of executions in the ledger
    :ivar problems: what was found wrong
    """

    def __init__(self, world: World, seed: int, names: list[str] | None = None) -> None:
        self._world = world
        self._random = Random(seed)
        self._seed = seed
        faults = faults_of(world)
        self._faults = {name: faults[name] for name in (faults if names is None else names)}
        self._rounds = 0
        self.struck: Counter[str] = Counter()
        self.recovery: dict[str, list[float]] = defaultdict(list)
        self.outages: dict[str, list[float]] = defaultdict(list)
        self.stages = 0
        self.tasks = 0
        self.problems: list[str] = []

    async def round(self, tasks: int, most_open: int = 200) -> None:
        """Run some tasks under faults until they have ended, and check them."""
        self._rounds += 1
        workload = Workload(self._world, self._random, f"{self._seed}-{self._rounds}")
        working = asyncio.create_task(workload.create(tasks, most_open))
        try:
            while self._faults and not working.done():
                await self._strike()
                await asyncio.sleep(self._random.uniform(*PAUSE_SECONDS))
            await working
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
        await self._check(workload)

    async def _strike(self) -> None:
        together = 2 if self._random.random() < TWO_AT_ONCE else 1
        names = self._random.sample(sorted(self._faults), min(together, len(self._faults)))
        if not ALONE.isdisjoint(names):
            names, together = names[:1], 1
        healed = asyncio.Event()
        probing = asyncio.create_task(self._longest_probe(healed))
        outcomes = await asyncio.gather(
            *(self._faults[name](self._world, self._random) for name in names),
            return_exceptions=True,
        )
        healed.set()
        recovery = await self._world.probe()
        outage = await probing
        for name, outcome in zip(names, outcomes, strict=True):
            if isinstance(outcome, BaseException) and together == 1:
                raise outcome
            self.struck[name] += 1
            if together == 1:
                self.recovery[name].append(recovery)
                self.outages[name].append(outage)

    async def _longest_probe(self, healed: asyncio.Event) -> float:
        longest = 0.0
        while not healed.is_set():
            longest = max(longest, await self._world.probe())
            await asyncio.sleep(PROBE_PAUSE_SECONDS)
        return longest

    async def _check(self, workload: Workload) -> None:
        entries = list(ledger.read(self._world.ledger))
        found = await self._tasks()
        history = await self._history(found)
        self.problems += self._found_wrong(workload, entries, found, history)
        self.problems += self._world.broken
        self.stages += sum(entry.kind == "start" for entry in entries)
        self.tasks += len(found)
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
        history: dict[str, list[Json]] = {}
        ids = list(found)
        for start in range(0, len(ids), 100):
            part = ids[start : start + 100]
            calls = [("tasks.stages", {"job_id": found[id]["job_id"]}) for id in part]
            answers = await self._world.ask(partial(Client.batch, calls=calls))
            history.update(zip(part, answers, strict=True))
        return history

    async def _forget(self, ids: list[str]) -> None:
        for start in range(0, len(ids), PAGE):
            part = ids[start : start + PAGE]
            await self._world.ask(partial(_delete, ids=part))
        self._world.ledger.unlink(missing_ok=True)


async def _page(client: Client, cursor: str | None) -> Json:
    page: Json = await client.tasks.list(
        conditions={"app_name": APP}, limit=PAGE, cursor=cursor, columns=COLUMNS
    )
    return page


async def _delete(client: Client, ids: list[str]) -> None:
    await client.tasks.m_delete(ids)

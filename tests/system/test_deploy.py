"""A rolling deploy: executors of two versions, with other commands, work beside each other."""

import asyncio
from collections import Counter
from collections.abc import Callable

from kaiju_tasks import Client
from tests.support.wait import wait_until
from tests.system.fleet import PATIENT, SECONDS, ExecutorProcess, Fleet, Json, Trace, command, task

OLD, NEW = "tests.system.versions:old", "tests.system.versions:new"
BEFORE = [["keep", "count", "keep"], ["removed"], ["keep"]]
AFTER = [["added", "keep", "count_items"], ["keep", "added"], ["keep"]]
MIXED = ["count", "added", "keep", "removed", "count_items"]
"""Begun before the deploy, and ended by both versions."""
AT_ONCE = 10
OPEN = ["IDLE", "QUEUED", "EXECUTED", "WAITING", "SUSPENDED"]
BACKLOG = 150
OF_VERSION = {"old": {"keep", "count", "removed"}, "new": {"keep", "count_items", "added"}}


class Load:
    """Creates tasks for as long as it is wanted.

    :ivar pipelines: the methods of a task, by its id
    """

    def __init__(self, client: Client, trace: Trace) -> None:
        self._client = client
        self._trace = trace
        self.pipelines: dict[str, list[str]] = {}

    async def create(self, kinds: list[list[str]]) -> None:
        made = []
        for _ in range(AT_ONCE):
            n = len(self.pipelines)
            self.pipelines[f"t{n}"] = methods = kinds[n % len(kinds)]
            commands = (command(method, file=self._trace) for method in methods)
            made.append(task(f"t{n}", *commands, priority=n % 3))
        await self._client.tasks.m_create(made)

    async def go_on(self, kinds: Callable[[], list[list[str]]], until: asyncio.Event) -> None:
        """Keep a backlog."""
        while not until.is_set():
            if await self.left() < BACKLOG:
                await self.create(kinds())

    async def left(self) -> int:
        """How many tasks have not ended."""
        page = await self._client.tasks.list(conditions={"status": OPEN}, limit=1)
        count: int = page["count"]
        return count


async def test_a_deploy_of_new_renamed_and_removed_commands_loses_and_fails_nothing(
    fleet: Fleet,
) -> None:
    fleet.settings = PATIENT
    manager = await fleet.manager()
    client = fleet.client(manager)
    trace = fleet.file("trace")
    load = Load(client, trace)

    async def start(version: str) -> ExecutorProcess:
        fleet.commands = version
        return await fleet.executor(manager, concurrency=4)

    async def stop(executor: ExecutorProcess) -> None:
        executor.process.terminate()
        assert await executor.process.ended() == 0

    first, second = await start(OLD), await start(OLD)
    kinds, over = BEFORE, asyncio.Event()
    while len(load.pipelines) < BACKLOG:
        await load.create(kinds)
    await load.create([MIXED])
    loading = asyncio.create_task(load.go_on(lambda: kinds, over))
    third = await start(NEW)
    kinds = AFTER
    await stop(first)
    fourth = await start(NEW)
    await wait_until(lambda: _done(load, client, {"count", "removed"}), "the old commands", SECONDS)
    await stop(second)
    over.set()
    await loading
    await wait_until(lambda: _is_zero(load), "every task has finished", SECONDS)

    tasks = await _all(client)
    assert tasks.keys() == load.pipelines.keys()
    assert {(one["status"], one["retries"]) for one in tasks.values()} == {("FINISHED", 0)}
    lines = [line.split() for line in trace.lines]
    assert all(method in OF_VERSION[version] for _, method, version in lines)
    begun = Counter(key for key, _, _ in lines)
    wanted = {
        f"{tasks[id]['job_id']}/{stage}"
        for id, methods in load.pipelines.items()
        for stage in range(len(methods))
    }
    assert begun.keys() == wanted
    assert set(begun.values()) == {1}  # SIGTERM lets running stages end
    for executor in (third, fourth):
        await stop(executor)


async def _is_zero(load: Load) -> bool:
    return await load.left() == 0


async def _done(load: Load, client: Client, methods: set[str]) -> bool:
    """Whether no task needs any of these methods any more."""
    for id, one in (await _all(client)).items():
        if one["status"] != "FINISHED" and methods & set(load.pipelines[id][one["stage"] :]):
            return False
    return True


async def _all(client: Client) -> dict[str, Json]:
    found: dict[str, Json] = {}
    cursor = None
    while True:
        page = await client.tasks.list(limit=100, cursor=cursor)
        found |= {one["id"]: one for one in page["data"]}
        cursor = page["cursor"]
        if cursor is None:
            return found

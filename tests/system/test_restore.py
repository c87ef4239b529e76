"""A database that is put back to an older copy, as docs/operations.md describes."""

import sqlite3
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from kaiju_tasks import Client
from kaiju_tasks.errors import NotFound
from tests.support.postgres_binaries import find_postgres
from tests.support.wait import wait_until
from tests.system.fleet import (
    SECONDS,
    Fleet,
    Trace,
    command,
    ended,
    has_reason,
    has_status,
    history,
    outcomes,
    task,
)

TIMER = {"method": "_TIMER_", "params": {"timer": 0.2}}
ANSWER = {"method": "_MESSAGE_", "params": {"name": "answer"}}
EVERY_SECOND = "* * * * * */1"


class Backup:
    """One copy of a store, made while managers run and put back while none does.

    :param tools: the folder of `pg_dump` and `pg_restore`; None for SQLite
    """

    def __init__(self, store_url: str, folder: Path, tools: Path | None) -> None:
        self._url = store_url
        self._copy = folder / "copy"
        self._tools = tools

    def make(self) -> None:
        if self._sqlite:
            with sqlite3.connect(self._database) as db:
                db.execute("VACUUM INTO ?", (str(self._copy),))
            db.close()
        else:
            self._run("pg_dump", "--format=custom", f"--file={self._copy}", self._url)

    def restore(self) -> None:
        if self._sqlite:
            for suffix in ("-wal", "-shm"):
                Path(f"{self._database}{suffix}").unlink(missing_ok=True)
            self._database.write_bytes(self._copy.read_bytes())
        else:
            clean = ["--clean", "--if-exists", f"--dbname={self._url}"]
            self._run("pg_restore", *clean, str(self._copy))

    @property
    def _sqlite(self) -> bool:
        return self._url.startswith("sqlite:")

    @property
    def _database(self) -> Path:
        return Path(urlsplit(self._url).path[1:])

    def _run(self, program: str, *arguments: str) -> None:
        assert self._tools is not None
        ran = subprocess.run(
            [self._tools / program, *arguments], capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stderr


@pytest.fixture
async def backup(store_url: str, tmp_path: Path) -> Backup:
    tools = None if store_url.startswith("sqlite:") else await tools_of(store_url)
    return Backup(store_url, tmp_path, tools)


async def tools_of(url: str) -> Path:
    """The oldest tools that can read a server. Newer ones write settings that it does not know."""
    connection = await asyncpg.connect(url)
    major = connection.get_server_version().major
    await connection.close()
    able = [binaries for binaries in find_postgres() if binaries.major >= major]
    return min(able, key=lambda binaries: binaries.major).folder


@pytest.mark.every_postgres  # copies with the tools of that version
async def test_after_a_restore_each_task_goes_on_from_where_the_copy_has_it(
    fleet: Fleet, backup: Backup
) -> None:
    manager = await fleet.manager()
    await fleet.executor(manager)
    client = fleet.client(manager, retry_seconds=SECONDS)
    runs_on, ran, gate_on, gate_ran = (fleet.file(name) for name in ("on", "ran", "gate1", "gate2"))
    before = fleet.file("before")
    await client.tasks.create(task("runs-on", command("hold", file=runs_on, gate=gate_on)))
    held = command("hold", file=ran, gate=gate_ran)
    await client.tasks.create(task("ran", command("note", file=before), held))
    await client.tasks.create(task("timer", {**TIMER, "params": {"timer": 1.0}}))
    await client.tasks.create(task("asks", ANSWER))
    await runs_on.has(1)
    await ran.has(1)
    await has_reason(client, "timer", "timer")
    await has_reason(client, "asks", "message")

    backup.make()
    gate_ran.touch()
    message: dict[str, Any] = {"data": "yes", "name": "answer", "message_id": "m1"}
    assert (await client.tasks.message("asks", **message))["state"] == "delivered"
    await client.tasks.create(task("later", command("echo", data=1)))
    for id in ("ran", "timer", "asks", "later"):
        await ended(client, id)
    manager.process.terminate()
    assert await manager.process.ended() == 0
    backup.restore()
    await fleet.again(manager)

    assert (await ended(client, "timer"))["status"] == "FINISHED"
    again = await ended(client, "ran")
    assert again["status"] == "FINISHED"
    assert outcomes(await history(client, again), stage=1) == ["RELEASED", "FINISHED"]
    assert len(before.lines) == 1, "the result in the copy is used"
    first, second = (line.split()[0] for line in ran.lines)
    assert first == second, "a repeated stage has the same idempotency key"
    with pytest.raises(NotFound):
        await client.tasks.get("later")
    await has_status(client, "asks", "WAITING")
    assert (await client.tasks.message("asks", **message))["state"] == "delivered"
    assert (await ended(client, "asks"))["result"] == ["yes"]
    gate_on.touch()
    assert (await ended(client, "runs-on"))["status"] == "FINISHED"
    assert len(runs_on.lines) == 1, "what the executor still runs is not run again"


LATE = {"ping_interval": 0.5, "suspend_after_pings": 2, "reconnect_grace": 0.5, "misfire_grace": 0}
"""A lease is shorter than the time between the copy and the restart, and nothing runs late."""


async def test_fires_after_the_copy_follow_the_misfire_rule(fleet: Fleet, backup: Backup) -> None:
    fleet.settings = LATE
    manager = await fleet.manager()
    await fleet.executor(manager)
    client = fleet.client(manager, retry_seconds=SECONDS)
    traces = {misfire: fleet.file(misfire) for misfire in ("skip", "all")}
    for misfire, trace in traces.items():
        fire = command("fire", file=trace)
        await client.tasks.create(task(misfire, fire, cron=EVERY_SECOND, misfire=misfire))
        await trace.has(1)
    backup.make()
    for trace in traces.values():
        await trace.has(len(trace.lines) + 5)
    manager.process.terminate()
    assert await manager.process.ended() == 0
    between = {misfire: fires(trace)[-4:] for misfire, trace in traces.items()}
    backup.restore()
    await fleet.again(manager)

    for misfire, trace in traces.items():

        async def decided(misfire: str = misfire) -> bool:
            decided = await scheduled(client, misfire, "FINISHED", "MISSED")
            return set(between[misfire]) <= decided

        await wait_until(decided, f"the fires of {misfire} after the copy are decided", SECONDS)
        again = [fires(trace).count(fire) for fire in between[misfire]]
        if misfire == "all":
            assert again == [2, 2, 2, 2]
        else:
            assert again[-1] == 1
            assert between[misfire][-1] in await scheduled(client, misfire, "MISSED")


def fires(trace: Trace) -> list[float]:
    """The moments of the fires that were run."""
    return [float(line) for line in trace.lines]


async def scheduled(client: Client, id: str, *statuses: str) -> set[float]:
    """The moments of the runs in the history that have these statuses."""
    runs = await client.tasks.runs(id, limit=100)
    return {run["scheduled_at"] for run in runs if run["status"] in statuses}

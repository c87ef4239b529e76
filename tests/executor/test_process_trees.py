"""Nothing that a process command has started outlives its stage or its executor."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kaiju_tasks.executor.guardian import _descendants
from tests.executor.commands import executor as commands
from tests.executor.fakes import FakeManager, Rig, assignment, command
from tests.executor.server import serving
from tests.support.pids import is_alive
from tests.support.wait import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is a guardian on Linux only")


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with Rig(commands) as rig:
        yield rig


def daemon(folder: Path, seconds: float):
    params = {"folder": str(folder), "seconds": seconds}
    return assignment(command("daemon", params=params, max_timeout=100))


async def pids_of(folder: Path) -> list[int]:
    await wait_until((folder / "pids").exists, "the daemons run")
    return [int(pid) for pid in (folder / "pids").read_text().split()]


async def gone(pids: list[int]) -> None:
    await wait_until(lambda: not any(map(is_alive, pids)), f"{pids} are gone")


@pytest.mark.parametrize("how", ["end", "deadline", "revoke"])
async def test_daemons_of_a_command_end_with_its_stage(rig, tmp_path, how):
    task = daemon(tmp_path, 0 if how == "end" else 600)
    rig.manager.run(task)
    pids = await pids_of(tmp_path)
    if how == "deadline":
        await rig.clock.advance(100)
    elif how == "revoke":
        rig.manager.revoke(task)
    else:
        await wait_until(rig.manager.outcomes, "the stage ends")
        assert not any(map(is_alive, pids))  # before the stage is reported
    await gone(pids)
    await wait_until(lambda: rig.runtime.lingering == 0, "the slot is free")


async def test_the_tree_of_a_killed_executor_ends(tmp_path):
    manager = FakeManager()
    async with serving(manager) as server:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.executor.child", server.url, json.dumps({})
        )
        try:
            await wait_until(lambda: manager.methods("manager.connect"), "the child connects")
            manager.run(daemon(tmp_path, 600))
            pids = await pids_of(tmp_path)
            tree = list(_descendants(child.pid))
            assert len(tree) >= 2
        finally:
            child.kill()
            await child.wait()
        await gone(pids + tree)


async def test_a_worker_that_is_killed_takes_its_daemons_along(rig, tmp_path):
    rig.manager.run(daemon(tmp_path, 600))
    worker, *daemons = await pids_of(tmp_path)
    os.kill(worker, signal.SIGKILL)
    await wait_until(rig.manager.outcomes, "the stage ends")
    error = rig.manager.reports[-1].error
    assert error is not None
    assert "was killed by SIGKILL" in error.message
    await gone(daemons)


async def test_a_guardian_that_is_killed_takes_its_worker_along(rig, tmp_path):
    rig.manager.run(daemon(tmp_path, 600))
    worker, *_ = await pids_of(tmp_path)
    fields = Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()
    os.kill(int(fields[1]), signal.SIGKILL)
    await gone([worker])
    for pid in (await pids_of(tmp_path))[1:]:
        os.kill(pid, signal.SIGKILL)


async def test_how_a_worker_has_ended_is_reported(rig):
    rig.manager.run(assignment(command("shot")))
    await wait_until(rig.manager.outcomes, "the stage ends")
    error = rig.manager.reports[-1].error
    assert error is not None
    assert error.message == "the command's process was killed by SIGKILL"

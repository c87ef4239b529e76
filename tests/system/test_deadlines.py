"""Stages that do not end, or end wrongly."""

import pytest

from tests.support.pids import is_alive
from tests.support.wait import wait_until
from tests.system.fleet import (
    PATIENT,
    SECONDS,
    Fleet,
    ManagerProcess,
    command,
    ended,
    history,
    outcomes,
    task,
)


@pytest.fixture
async def manager(team: Fleet) -> ManagerProcess:
    team.settings = {**PATIENT, "max_result_bytes": 1000}
    return await team.manager()


async def test_a_thread_past_its_deadline_fails_its_stage_and_is_stopped(
    team: Fleet, manager: ManagerProcess
) -> None:
    executor = await team.executor(manager, concurrency=1)
    client = team.client(manager)
    thread = command("thread", file=team.file("trace"), max_timeout=0.3)
    await client.tasks.create(task("a", thread, max_retries=1))
    done = await ended(client, "a")
    assert (done["exit_code"], done["error"]["type"]) == (1, "stage_timeout")
    assert outcomes(await history(client, done)) == ["FAILED", "FAILED"]
    await client.tasks.create(task("b", command("echo", data=1)))  # its only slot is free again
    assert (await ended(client, "b"))["result"] == [1]
    assert (await client.executors.get(executor.id))["status"] == "ACTIVE"


async def test_a_process_past_its_deadline_is_killed_with_its_children(
    team: Fleet, manager: ManagerProcess
) -> None:
    await team.executor(manager)
    client = team.client(manager)
    trace = team.file("trace")
    await client.tasks.create(task("a", command("process", file=trace, max_timeout=3)))
    [line] = await trace.has(1)
    done = await ended(client, "a")
    assert (done["exit_code"], done["error"]["type"]) == (1, "stage_timeout")
    pids = [int(pid) for pid in line.split()]
    assert len(pids) == 2
    await wait_until(lambda: not any(map(is_alive, pids)), f"{pids} are gone", SECONDS)


async def test_a_stuck_thread_restarts_its_process_and_its_other_work_is_given_back(
    team: Fleet, manager: ManagerProcess
) -> None:
    executor = await team.executor(manager, kill_grace=0.3)
    client = team.client(manager)
    holds, trace, gate = team.file("holds"), team.file("trace"), team.file("gate")
    await client.tasks.create(task("other", command("hold", file=holds, gate=gate)))
    await holds.has(1)
    await client.tasks.create(task("stuck", command("stuck", file=trace, max_timeout=0.3)))
    stuck = await ended(client, "stuck")
    assert stuck["error"]["type"] == "stage_timeout"
    assert trace.lines == [str(executor.process.pid)]
    await holds.has(2)  # on the same process, begun again
    gate.touch()
    other = await ended(client, "other")
    assert outcomes(await history(client, other)) == ["RELEASED", "FINISHED"]
    assert {line.split()[1] for line in holds.lines} == {str(executor.process.pid)}
    assert executor.process.exit_code is None


async def test_what_a_stage_may_not_do_is_a_typed_error_of_that_stage_alone(
    team: Fleet, manager: ManagerProcess
) -> None:
    await team.executor(manager)
    client = team.client(manager)
    wrong = {
        "result_too_large": command("big", size=5000),
        "invalid_params": command("typed", customer=1, tags=[1]),
        "template_error": command("echo", data="[kws.nowhere]"),
        "execution_error": command("fail", message="on request"),
        "abort": command("abort", message="on request"),
    }
    for type, failing in wrong.items():
        await client.tasks.create(task(type, command("echo", data="kept"), failing))
    await client.tasks.create(task("small", command("big", size=900)))
    for type in wrong:
        done = await ended(client, type)
        assert (done["status"], done["exit_code"]) == ("FAILED", 1)
        assert (done["error"]["type"], done["error"]["stage"]) == (type, 1)
        assert done["error"]["message"]
        assert done["result"][0] == "kept"
    assert "tags" in (await client.tasks.get("invalid_params"))["error"]["message"]
    assert "kws.nowhere" in (await client.tasks.get("template_error"))["error"]["message"]
    assert (await ended(client, "small"))["status"] == "FINISHED"

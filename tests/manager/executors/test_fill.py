"""The manager fills the commands of executors that leave it to the manager (`fill`)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import pytest

from kaiju_tasks.errors import InvalidParams, Unavailable
from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.executors import filling, frames, reconciliation, room
from kaiju_tasks.protocol import Ack, AckState, Assignment
from tests.manager.conftest import a_manager
from tests.manager.hand import (
    Calls,
    HandExecutor,
    executors_are_lost_soon,
    finished,
    lease_of,
    pinging,
)
from tests.support.wait import wait_until

COMMANDS: list[Any] = [
    {"method": "work"},
    {
        "method": "typed",
        "params": {
            "type": "object",
            "properties": {"n": {"type": "integer"}},
            "required": ["n"],
            "additionalProperties": False,
        },
    },
]
DATA = {"region": "eu"}


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def connected(
    manager: Manager, stack: AsyncExitStack, id: str = "node", **more: Any
) -> HandExecutor:
    executor = HandExecutor(manager, id)
    announced: dict[str, Any] = {"fill": True, "commands": COMMANDS, "data": DATA}
    answer = await executor.connect(**announced | more)
    assert answer["fill"] is True
    await stack.enter_async_context(pinging(executor))
    return executor


@pytest.fixture
async def node(manager: Manager, stack: AsyncExitStack) -> HandExecutor:
    return await connected(manager, stack)


def params_of(task: Assignment | Ack) -> Any:
    """The parameters of the one command that was sent."""
    if isinstance(task, Ack):
        assert task.command is not None
        return msgspec.json.decode(task.command.params)
    (command,) = task.commands
    assert bytes(command.condition) == b"null"
    assert (bytes(task.kws), task.results) == (b"{}", {})
    return msgspec.json.decode(command.params)


async def test_each_command_comes_filled_with_the_acknowledgement_before_it(
    call: Calls, node: HandExecutor
) -> None:
    await call.create(
        {"method": "work", "params": {"a": "[kws.x]", "b": "[executor.region]"}, "name": "first"},
        {"method": "work", "params": {"a": "[0.n]", "b": "[first]"}, "max_timeout": 20},
        {"method": "work", "params": {"a": "[0.n] [1]", "raw": {"$raw": "[0.n]"}}},
        id="t",
        kws={"x": [1]},
    )
    task = await node.take()
    assert (task.stage, task.stages, len(task.commands)) == (0, 3, 1)
    assert params_of(task) == {"a": [1], "b": "eu"}
    ack = await node.finish(task, {"n": 7})
    assert (ack.state, ack.stage) == (AckState.OK, 1)
    assert params_of(ack) == {"a": 7, "b": {"n": 7}}
    assert ack.command is not None
    assert ack.command.max_timeout == 20
    assert ack.exec_seconds is not None
    assert 290 < ack.exec_seconds <= 300
    ack = await node.finish(task, "[kws.x]", stage=1)
    assert params_of(ack) == {"a": "7 [kws.x]", "raw": "[0.n]"}
    ack = await node.finish(task, stage=2)
    assert (ack.state, ack.command) == (AckState.RELEASED, None)
    assert (await call.get("t"))["status"] == "FINISHED"


async def test_a_command_without_templates_needs_no_query(
    call: Calls, node: HandExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    await call.create("work", {"method": "work", "params": {"a": "[0]"}}, id="t")
    task = await node.take()

    async def refuse(*args: Any, **more: Any) -> None:
        raise AssertionError("it has read something")

    monkeypatch.setattr(node.manager.committer, "transact", refuse)
    assert params_of(await node.finish(task, 5)) == {"a": 5}


async def test_stages_whose_condition_does_not_hold_are_skipped(
    call: Calls, node: HandExecutor
) -> None:
    no: Any = {"method": "work", "condition": {"kws.go": True}}
    commands = [no, "work", no, no, {"method": "work", "params": {"a": ["[0]", "[2]", "[1]"]}}, no]
    await call.create(*commands, id="t", kws={"go": False})
    task = await node.take()
    assert task.stage == 1
    assert (task.attempt, task.stages) == (1, 6)
    ack = await node.finish(task, "done")
    assert ack.stage == 4
    assert params_of(ack) == {"a": [None, None, "done"]}
    ack = await node.finish(task, stage=4)
    assert ack.state is AckState.RELEASED
    run = await call.get("t")
    assert (run["status"], run["result"]) == ("FINISHED", [None, "done", None, None, None, None])
    outcomes = [one["outcome"] for one in await call("tasks.stages", job_id=run["job_id"])]
    assert outcomes == ["SKIPPED", "FINISHED", "SKIPPED", "SKIPPED", "FINISHED", "SKIPPED"]


async def test_a_run_of_skipped_stages_needs_no_executor(call: Calls, node: HandExecutor) -> None:
    no: Any = {"method": "work", "condition": {"kws.go": True}}
    await call.create(no, no, id="t", kws={"go": False})
    await call.until("t", "FINISHED")
    assert node.assigned.empty()
    await call.create("work", id="next")
    assert (await node.take()).id == "next"


@pytest.mark.parametrize(
    ("command", "kind", "field"),
    [
        ({"method": "work", "params": {"a": "[kws.none]"}}, "template_error", None),
        ({"method": "work", "condition": {"kws.none": 1}}, "template_error", None),
        ({"method": "typed", "params": {"n": "[kws.text]"}}, "invalid_params", "n"),
        ({"method": "typed", "params": {}}, "invalid_params", "n"),
        ({"method": "typed", "params": {"n": 1, "m": 1}}, "invalid_params", "m"),
    ],
)
@pytest.mark.parametrize("before", [0, 1])
async def test_what_cannot_be_filled_fails_its_stage(
    call: Calls, node: HandExecutor, command: Any, kind: str, field: str | None, before: int
) -> None:
    commands = ["work"] * before
    await call.create(*commands, command, id="t", kws={"text": "x"})
    if before:
        ack = await node.finish(await node.take())
        assert ack.state is AckState.RELEASED
    task = await call.until("t", "FAILED")
    assert (task["error"]["type"], task["error"]["stage"]) == (kind, before)
    assert task["error"]["data"].get("field") == (field or task["error"]["data"].get("field"))
    assert task["exit_code"] == 1
    session = node.manager.sessions.get("node")
    assert session is not None
    await wait_until(lambda: not session.leases, "its place is free")


async def test_a_failure_to_fill_is_retried(call: Calls, node: HandExecutor) -> None:
    bad: Any = {"method": "work", "params": {"a": "[0.n]"}}
    await call.create("work", bad, id="t", max_retries=1, restart_policy="FIRST")
    assert (await node.finish(await node.take(), {})).state is AckState.RELEASED
    task = await node.take()
    assert (task.retries, task.cycle, task.stage) == (1, 1, 0)
    assert params_of(await node.finish(task, {"n": 1})) == {"a": 1}


async def test_a_lease_ends_at_a_hook_and_at_a_method_that_is_lacking(
    call: Calls, node: HandExecutor
) -> None:
    await call.create("work", {"method": "_MESSAGE_"}, "work", "other", id="t")
    assert (await node.finish(await node.take())).state is AckState.RELEASED
    await call("tasks.message", id="t", data=5)
    task = await node.take()
    assert task.stage == 2
    ack = await node.finish(task)
    assert (ack.state, ack.command) == (AckState.RELEASED, None)
    assert (await call.get("t"))["status"] == "QUEUED"


async def test_a_repeated_report_brings_the_next_command_again(
    call: Calls, node: HandExecutor
) -> None:
    await call.create("work", {"method": "work", "params": {"a": "[0]"}}, id="t")
    task = await node.take()
    first = await node.finish(task, 1)
    again = await node.finish(task, 1)
    assert params_of(again) == params_of(first) == {"a": 1}


async def test_a_repeated_report_with_another_result_changes_nothing(
    call: Calls, node: HandExecutor
) -> None:
    both: Any = {"method": "work", "params": {"a": "[0]", "b": "[1]"}}
    await call.create("work", "work", both, id="t")
    task = await node.take()
    await node.finish(task, 1)
    assert params_of(await node.finish(task, 2, stage=1)) == {"a": 1, "b": 2}
    for stage in (0, 1):
        assert params_of(await node.finish(task, 99, stage=stage)) == {"a": 1, "b": 2}


@executors_are_lost_soon
async def test_others_run_beside_a_suspect_task_whose_stage_was_skipped(
    call: Calls, manager: Manager, stack: AsyncExitStack
) -> None:
    no: Any = {"method": "work", "condition": {"kws.go": True}}
    await call.create(no, "work", id="t", kws={"go": False})
    for n in range(2):
        doomed = HandExecutor(manager, f"doomed{n}")
        await doomed.connect(commands=COMMANDS)
        await doomed.take()
        await doomed.cut()
        await call.until("t", "QUEUED")
    node = await connected(manager, stack)
    assert (await node.take()).stage == 1
    await call.create("work", id="other")
    assert (await node.take()).id == "other"


async def test_the_next_command_comes_over_another_connection_and_manager(
    call: Calls, node: HandExecutor, other_manager: Manager, stack: AsyncExitStack
) -> None:
    """The acknowledgement was lost; the other manager has seen nothing of the task."""
    await call.create(
        {"method": "work", "name": "first"},
        "work",
        {"method": "work", "params": {"a": ["[first]", "[1]"]}, "condition": {"0": 1}},
        id="t",
        kws={"x": 1},
    )
    task = await node.take()
    await node.finish(task, 1)
    await node.finish(task, 2, stage=1)
    await node.cut()
    again = HandExecutor(other_manager, "node")
    await again.connect(fill=True, commands=COMMANDS, holding=[lease_of(task)])
    await stack.enter_async_context(pinging(again))
    ack = await again.finish(task, 2, stage=1)
    assert params_of(ack) == {"a": [1, 2]}
    assert (await again.finish(task, stage=2)).state is AckState.RELEASED


async def test_a_revoked_lease_gets_no_command(
    call: Calls, node: HandExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is cancelled while its next command is filled, in a thread as it is costly."""
    monkeypatch.setattr(filling, "LIGHT_WORK", 0)
    await call.create("work", {"method": "work", "params": {"a": "[0]"}}, id="t")
    task = await node.take()
    real, go_on = filling.fill, asyncio.Event()
    desk = node.manager.fill_desk

    async def slow(*args: Any) -> Any:
        await go_on.wait()
        return real(args[0], args[1], args[3])

    monkeypatch.setattr(desk, "fill", slow)
    report = asyncio.create_task(node.finish(task, 1))
    await wait_until(lambda: stage_of(call, "t", 1), "the report is stored")
    await call("tasks.cancel", id="t")
    assert node.revoked == [lease_of(task)]
    go_on.set()
    assert (await report).state is AckState.STALE


async def stage_of(call: Calls, id: str, stage: int) -> bool:
    return bool((await call.get(id))["stage"] == stage)


async def test_a_costly_template_is_filled_in_a_thread(
    call: Calls, node: HandExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "LIGHT_WORK", 0)
    await call.create(
        {"method": "work", "params": {"a": "[kws.x]"}},
        {"method": "work", "params": {"a": "[0]"}},
        id="t",
        kws={"x": 1},
    )
    task = await node.take()
    assert params_of(task) == {"a": 1}
    assert params_of(await node.finish(task, 2)) == {"a": 2}


async def test_an_answer_has_room_for_one_large_command_and_the_others_are_asked_for_again(
    call: Calls, node: HandExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "FRAME_BYTES", 100_000)
    large: Any = {"method": "work", "params": {"a": "[kws.x]"}}
    for name in ("a", "b", "c"):
        await call.create("work", large, id=name, kws={"x": name * 70_000})
    tasks = [await node.take() for _ in range(3)]
    waiting = [finished(task, 1) for task in tasks]
    got = []
    for left in (2, 1, 0):
        acks = await node.report(*waiting)
        again = [one for one, ack in zip(waiting, acks, strict=True) if ack.state is AckState.AGAIN]
        got += [params_of(ack)["a"][0] for ack in acks if ack.command is not None]
        assert len(again) == left
        waiting = again
    assert got == ["a", "b", "c"]
    session = node.manager.sessions.get("node")
    assert session is not None
    assert len(session.leases) == 3


async def test_no_more_bytes_are_sent_than_are_taken(
    call: Calls, node: HandExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A template makes much of little, so that only the filled command shows its size."""
    monkeypatch.setattr(frames, "FRAME_BYTES", 100_000)
    monkeypatch.setattr(room, "UNTAKEN_BYTES", 200_000)
    await node.call("manager.ping", id="node", capacity=0)
    node.reads = False
    node.frames.clear()
    many: Any = {"method": "work", "params": {"a": ["[kws.x]"] * 50}}
    for n in range(8):
        await call.create(many, id=f"t{n}", kws={"x": "x" * 1_500})
    await node.call("manager.ping", id="node", capacity=8)
    await call.until("t7", "EXECUTED")
    await wait_until(lambda: sum(node.frames) >= 200_000, "it was sent what it can take")
    taken = 0
    while taken < 8:
        assert sum(node.frames) <= 300_000
        node.frames.clear()
        node.read()
        while not node.assigned.empty():
            node.assigned.get_nowait()
            taken += 1
        if taken < 8:
            await wait_until(lambda: bool(node.frames), "it was sent more")
    session = node.manager.sessions.get("node")
    assert session is not None
    assert session.untaken == 0


async def test_tasks_that_wait_to_be_sent_are_not_taken_for_lost(
    call: Calls, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "UNTAKEN_BYTES", 1)
    monkeypatch.setattr(reconciliation, "INTERVALS_APART", 0)
    node = HandExecutor(manager, "node")
    await node.connect(fill=True)
    node.reads = False
    await call.create("work", id="first")
    first = await node.take()
    await call.create("work", id="second")
    holding = msgspec.to_builtins([lease_of(first)])
    for _ in range(2 * reconciliation.PINGS_IN_A_ROW):
        await node.call("manager.ping", id="node", holding=holding)
    assert node.revoked == []
    node.read()
    assert (await node.take()).id == "second"


async def test_what_an_executor_announces_as_data_is_bounded(
    manager: Manager,
) -> None:
    node = HandExecutor(manager, "node")
    with pytest.raises(InvalidParams) as refused:
        await node.connect(fill=True, data={"x": "x" * 70_000})
    assert refused.value.field == "data"


async def test_an_executor_that_fills_itself_is_sent_what_it_was_before(
    call: Calls, executor: HandExecutor
) -> None:
    await call.create("work", {"method": "work", "params": {"a": "[0]"}}, kws={"x": 1})
    task = await executor.take()
    assert len(task.commands) == 2
    assert bytes(task.kws) == b'{"x":1}'
    ack = await executor.finish(task, 1)
    assert (ack.state, ack.command, ack.exec_seconds) == (AckState.OK, None, None)


async def test_filling_goes_on_after_an_outage(
    call: Calls, node: HandExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stage that is skipped cannot be stored at first."""
    real, failures = node.manager.reports.apply, iter([Unavailable("no"), Unavailable("no")])

    async def apply(*args: Any) -> Any:
        if (failure := next(failures, None)) is not None:
            raise failure
        return await real(*args)

    monkeypatch.setattr(node.manager.fill_desk, "apply", apply)
    no: Any = {"method": "work", "condition": {"kws.go": True}}
    await call.create(no, "work", id="t", kws={"go": False})
    assert (await node.take()).stage == 1


async def test_a_manager_that_restarts_fills_from_the_store(
    settings: Any, stack: AsyncExitStack
) -> None:
    async with a_manager(settings) as first:
        node = await connected(first, stack)
        second: Any = {"method": "work", "params": {"a": "[0]"}, "condition": {"0": {"gt": 1}}}
        await Calls(first).create("work", "work", second, id="t")
        task = await node.take()
        await node.finish(task, 5)
        await stack.aclose()
    async with a_manager(settings) as manager, AsyncExitStack() as later:
        again = HandExecutor(manager, "node")
        await again.connect(fill=True, commands=COMMANDS, holding=[lease_of(task)])
        await later.enter_async_context(pinging(again))
        assert params_of(await again.finish(task, 6, stage=1)) == {"a": 5}

"""An executor is sent as many bytes as it takes, in frames of bounded size."""

from typing import Any

import pytest

from kaiju_tasks.manager.executors import frames, room
from tests.manager.hand import Calls, HandExecutor, pinging
from tests.support.wait import wait_until

HEAVY = "x" * 100_000
READS_ALL = {"all": ["[0]", "[1]", "[2]", "[3]", "[4]", "[5]"]}


@pytest.fixture(autouse=True)
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "FRAME_BYTES", 100_000)
    monkeypatch.setattr(room, "UNTAKEN_BYTES", 400_000)


async def make_heavy(call: Calls, executor: HandExecutor, number: int) -> list[str]:
    """Tasks whose last stage, which is queued, reads six large results."""
    ids = []
    for _ in range(number):
        hook = {"method": "_MESSAGE_"}
        work = ["work"] * 6
        task = await call.create(*work, hook, {"method": "work", "params": READS_ALL})
        ids.append(task["id"])
    for _ in range(number):
        assigned = await executor.take()
        for stage in range(6):
            await executor.finish(assigned, HEAVY, stage)
    for task_id in ids:
        await call.until(task_id, "WAITING")
    return ids


async def test_heavy_tasks_are_sent_one_after_the_other_is_taken(
    call: Calls, executor: HandExecutor
) -> None:
    executor.capacity = 100
    ids = await make_heavy(call, executor, 4)
    executor.reads = False
    executor.frames.clear()
    for task_id in ids:
        await call("tasks.message", id=task_id, data=None)
    small = (await call.create("work"))["id"]
    sent = []
    for _ in range(4):
        sent.append(await executor.take())
        assert executor.assigned.empty()
        assert len(executor.sent) == 1
        leased = [(await call.get(task_id))["status"] for task_id in ids].count("EXECUTED")
        assert leased == len(sent)
        executor.read()
    assert [task.id for task in sent] == ids
    assert (await executor.take()).id == small


async def test_a_small_task_is_not_behind_one_that_does_not_fit_elsewhere(
    call: Calls, executor: HandExecutor
) -> None:
    """Another executor takes what this one has no room for."""
    ids = await make_heavy(call, executor, 2)
    executor.reads = False
    for task_id in ids:
        await call("tasks.message", id=task_id, data=None)
    await executor.take()
    other = HandExecutor(executor.manager, "other")
    await other.connect()
    async with pinging(other):
        assert (await other.take()).id == ids[1]


async def test_what_a_task_was_given_counts_as_well(call: Calls, executor: HandExecutor) -> None:
    executor.reads = False
    executor.frames.clear()
    kws: dict[str, Any] = {"large": "x" * 70_000}
    for _ in range(8):
        await call.create("work", kws=kws)
    await wait_until(lambda: len(executor.frames) == 5, "it was sent all that it can take")
    for _ in range(5):
        await executor.take()
    executor.read()
    for _ in range(3):
        await executor.take()
    assert len(executor.frames) == 8
    assert max(executor.frames) <= frames.FRAME_BYTES


def test_frames_are_divided_by_their_size() -> None:
    def encode(items: Any) -> bytes:
        return b"".join(items)

    half = b"x" * (frames.FRAME_BYTES // 2)
    many = [half, half, half, b"y" * (3 * frames.FRAME_BYTES), b"z"]
    divided = frames.frames(many, encode)
    assert b"".join(divided) == b"".join(many)
    assert [len(frame) for frame in divided if len(frame) > frames.FRAME_BYTES] == [
        3 * frames.FRAME_BYTES
    ]
    assert frames.frames([b"a", b"b"], encode) == [b"ab"]

"""Log lines in the store: who may write them, what is kept of them, and for how long."""

from typing import Any

import pytest
from msgspec.structs import replace

from kaiju_tasks.lifecycle import Delete, ExecutorLost, Row, RunNow
from kaiju_tasks.protocol import Lease
from kaiju_tasks.rights import ALL_SIGHT, NO_SIGHT, Sight
from kaiju_tasks.store import Store
from kaiju_tasks.store.logs import (
    HALF_BYTES,
    KEPT_BYTES,
    Attempt,
    LogChunk,
    LogPosition,
    LogQuery,
    StoredLine,
    decode_lines,
    encode_lines,
)
from tests.store.making import (
    acquire,
    add,
    connect,
    definition,
    finish,
    happen,
    lease_of,
    pruned,
)


def chunk(row: Row, *numbers: int, size: int = 100, **fields: Any) -> LogChunk:
    """Lines of the current attempt of a row."""
    lines = [StoredLine(n, 1.5, "info", "log", f"line {n}") for n in numbers]
    made = LogChunk(
        lease=lease_of(row),
        attempt=Attempt(row.job_id or "", row.cycle, row.stage, row.attempt + 1),
        n=numbers[0],
        last=numbers[-1],
        size=size,
        body=encode_lines(lines),
        executor_id="e1",
        app_names=["other", "default"],
    )
    return replace(made, **fields)


async def running(store: Store, id: str = "a", **fields: Any) -> Row:
    await add(store, definition(id, **fields))
    await connect(store)
    (row,) = await acquire(store)
    return row


async def numbers(
    store: Store, job_id: str, sight: Sight = ALL_SIGHT, **query: Any
) -> list[tuple[int, int, int]]:
    """The stage, the attempt and the number of each line."""
    parts = await store.log_parts(LogQuery(job_id, **query), sight, 1000)
    return [
        (part.attempt.stage, part.attempt.attempt, line.n)
        for part in parts
        for line in decode_lines(part.body)
    ]


async def test_lines_are_read_in_order(store: Store) -> None:
    row = await running(store, stages=2)
    (first,) = await store.write_logs([chunk(row, 1, 2)])
    assert (first.n, first.upto, first.status, first.stages) == (1, 100, "EXECUTED", 2)
    second, third = await store.write_logs([chunk(row, 3), chunk(row, 5, size=7)])
    assert (second.upto, third.upto) == (200, 207)
    (later,) = await finish(store, [row])
    await store.write_logs([chunk(later, 1)])
    assert await numbers(store, "job-a") == [(0, 1, 1), (0, 1, 2), (0, 1, 3), (0, 1, 5), (1, 1, 1)]
    assert await numbers(store, "job-a", stage=1) == [(1, 1, 1)]
    assert await numbers(store, "job-a", attempt=2) == []
    assert await numbers(store, "job-a", above=3) == [(0, 1, 5)]
    after = LogPosition(0, 0, 1, 3)
    assert await numbers(store, "job-a", after=after) == [(0, 1, 5), (1, 1, 1)]
    (part,) = await store.log_parts(LogQuery("job-a"), ALL_SIGHT, 1)
    assert decode_lines(part.body)[0] == StoredLine(1, 1.5, "info", "log", "line 1")


async def test_a_batch_that_comes_twice_is_stored_once(store: Store) -> None:
    row = await running(store)
    lines = [chunk(row, 1, 2), chunk(row, 3)]
    assert len(await store.write_logs(lines)) == 2
    assert await store.write_logs(lines) == []
    assert await store.write_logs([chunk(row, 3, 4)]) == []
    assert [n for *_, n in await numbers(store, "job-a")] == [1, 2, 3]


@pytest.mark.parametrize(
    "fields",
    [
        {"executor_id": "e2"},
        {"app_names": ["other"]},
        {"lease": Lease("a", "job-a", 1, "guessed")},
        {"lease": Lease("a", "job-a", 2, "nonce")},
        {"lease": Lease("b", "job-a", 1, "nonce")},
        {"attempt": Attempt("job-b", 0, 0, 1)},
        {"attempt": Attempt("job-a", 0, 1, 1)},
        {"attempt": Attempt("job-a", 0, 0, 2)},
        {"attempt": Attempt("job-a", 1, 0, 1)},
    ],
)
async def test_an_executor_writes_only_for_what_it_holds(
    store: Store, fields: dict[str, Any]
) -> None:
    row = await running(store)
    assert await store.write_logs([chunk(row, 1, **fields)]) == []
    assert await numbers(store, "job-a") == []


async def test_an_executor_writes_for_what_it_has_just_held(store: Store) -> None:
    row = await running(store)
    await finish(store, [row])
    (written,) = await store.write_logs([chunk(row, 1)])
    assert written.status == "FINISHED"
    assert await store.write_logs([chunk(row, 2, executor_id="e2")]) == []
    assert await store.write_logs([chunk(row, 2, app_names=["other"])]) == []
    assert await numbers(store, "job-a") == [(0, 1, 1)]


async def test_each_attempt_has_its_own_lines(store: Store) -> None:
    row = await running(store)
    await store.write_logs([chunk(row, 1)])
    await happen(store, "a", ExecutorLost(executor_id="e1"))
    (again,) = await acquire(store, ready=1) or await acquire(store, ready=2)
    await store.write_logs([chunk(row, 2), chunk(again, 1)])
    assert await numbers(store, "job-a") == [(0, 1, 1), (0, 1, 2), (0, 2, 1)]


async def test_the_first_and_the_last_part_of_an_attempt_are_kept(store: Store) -> None:
    row = await running(store)
    size = HALF_BYTES // 4
    for n in range(1, 21):
        await store.write_logs([chunk(row, n, size=size)])
        kept = await numbers(store, "job-a")
        assert len(kept) == min(n, KEPT_BYTES // size)
    assert [n for *_, n in kept] == [1, 2, 3, 4, 17, 18, 19, 20]
    assert await store.write_logs([chunk(row, 7)]) == []


async def test_one_write_can_have_more_than_is_kept(store: Store) -> None:
    row = await running(store)
    size = HALF_BYTES // 4
    await store.write_logs([chunk(row, n, size=size) for n in range(1, 21)])
    assert [n for *_, n in await numbers(store, "job-a")] == [1, 2, 3, 4, 17, 18, 19, 20]


async def test_lines_are_seen_as_their_task_is(store: Store) -> None:
    row = await running(store, user_id="u")
    await store.write_logs([chunk(row, 1)])
    for sight in (Sight(owner="u"), Sight(streams=(("def*",),))):
        assert await numbers(store, "job-a", sight)
    for sight in (Sight(owner="v"), Sight(streams=(("x",),)), NO_SIGHT):
        assert not await numbers(store, "job-a", sight)
    assert await numbers(store, "job-b") == []
    assert await numbers(store, "job-\0") == []


async def test_a_deleted_task_leaves_no_lines(store: Store) -> None:
    row, other = await running(store), await running(store, "b")
    await store.write_logs([chunk(row, 1), chunk(other, 1)])
    await happen(store, "a", Delete())
    assert await numbers(store, "job-a") == []
    assert await store.write_logs([chunk(row, 2)]) == []
    assert len(await numbers(store, "job-b")) == 1
    assert await store.prune_logs([("job-b", "b"), ("job-a", "a")]) == 0


async def test_the_lines_of_a_pruned_run_are_pruned(store: Store) -> None:
    row = await running(store)
    await store.write_logs([chunk(row, 1)])
    await finish(store, [row])
    later = await store.now() + 1
    assert await pruned(store.prune_runs, later, 10) == 0  # its results are still readable
    assert await numbers(store, "job-a")
    await happen(store, "a", RunNow(job_id="job-2"))
    (again,) = await acquire(store)
    await store.write_logs([chunk(again, 1)])
    assert await pruned(store.prune_runs, later, 10) == 1
    assert await numbers(store, "job-a") == []
    assert await numbers(store, "job-2") == [(0, 1, 1)]

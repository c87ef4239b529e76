"""What is cleaned away, and what must stay: both stores."""

import msgspec
from msgspec import Raw

from kaiju_tasks.lifecycle import (
    Attempt,
    Cancel,
    Command,
    Delete,
    MessageCame,
    Reset,
    RunNow,
    RunRecord,
    Step,
)
from kaiju_tasks.rights import ALL_SIGHT
from kaiju_tasks.store import Store
from kaiju_tasks.types import Outcome
from tests.store.making import acquire, add, connect, definition, finish, happen, pruned

FOREVER = 9e9


async def run_once(store: Store) -> None:
    """Acquire and finish everything that is ready."""
    await finish(store, await acquire(store))


async def test_nothing_of_a_deleted_task_is_left(store: Store) -> None:
    await connect(store)
    await add(store, "a", "b")
    await run_once(store)
    await happen(store, "a", RunNow(job_id="job-2"))
    await run_once(store)
    await happen(store, "a", Delete())
    assert set(await store.tasks(["a", "b"], ALL_SIGHT)) == {"b"}
    assert await store.runs("a", ALL_SIGHT) == []
    for job_id in ("job-a", "job-2"):
        assert await store.stage_records(job_id, ALL_SIGHT) == []


async def test_old_runs_are_pruned_but_never_the_last(store: Store) -> None:
    await connect(store)
    await add(store, "a", "b")
    await run_once(store)
    await happen(store, "a", RunNow(job_id="job-2"))
    await run_once(store)
    await happen(store, "a", Reset(job_id="job-3"))
    await run_once(store)
    assert await pruned(store.prune_runs, 1.0, 100) == 0
    assert await pruned(store.prune_runs, FOREVER, 1) == 2
    assert await pruned(store.prune_runs, FOREVER, 100) == 0
    assert [run.job_id for run in await store.runs("a", ALL_SIGHT)] == ["job-3"]
    assert [run.job_id for run in await store.runs("b", ALL_SIGHT)] == ["job-b"]
    assert await store.stage_records("job-a", ALL_SIGHT) == []
    assert len(await store.stage_records("job-3", ALL_SIGHT)) == 1
    results = (await store.tasks(["a"], ALL_SIGHT))["a"].results
    assert results == [msgspec.Raw(b'{"ok":true}')]


async def test_missed_fires_are_pruned(store: Store) -> None:
    await add(store, "a")
    async with store.transaction() as tx:
        row = (await tx.lock(["a"]))["a"]
        missed = RunRecord(
            "missed:a:1", "a", None, "MISSED", 1.0, None, None, 2.0, None, None, 0, 0, 1, None
        )
        await tx.save([Step(row, runs=[missed])])
    (run,) = await store.runs("a", ALL_SIGHT)
    assert (run.status, run.scheduled_at, run.job_id) == ("MISSED", 1.0, None)
    assert await pruned(store.prune_runs, 10.0, 10) == 1
    assert await store.runs("a", ALL_SIGHT) == []


async def test_the_run_that_is_open_keeps_its_stages(store: Store) -> None:
    await connect(store)
    await add(store, definition("a", stages=2))
    await finish(store, await acquire(store))
    assert await pruned(store.prune_runs, FOREVER, 10) == 0
    assert len(await store.stage_records("job-a", ALL_SIGHT)) == 1


async def test_runs_come_newest_first_and_whole(store: Store) -> None:
    await connect(store)
    await add(store, "a")
    await run_once(store)
    await happen(store, "a", RunNow(job_id="job-2"))
    await run_once(store)
    newest, oldest = await store.runs("a", ALL_SIGHT)
    assert (newest.job_id, oldest.job_id) == ("job-2", "job-a")
    assert (oldest.status, oldest.exit_code, oldest.stage, oldest.stages) == ("FINISHED", 0, 1, 1)
    assert (oldest.executor_id, oldest.error, oldest.retries) == ("e1", None, 0)
    assert len(await store.runs("a", ALL_SIGHT, 1)) == 1


async def test_attempts_come_in_order_with_their_errors(store: Store) -> None:
    await add(store, definition("a", stages=2))
    error = '{"type":"execution_error","message":"\\u0000","stage":0,"data":null}'
    attempts = [
        Attempt("j", 0, 1, 1, "m", "n", "e", 1.0, 2.0, 3.0, Outcome.FINISHED, False, None, None),
        Attempt("j", 0, 0, 1, "m", None, "e", 1.0, 2.0, 3.0, Outcome.LOST, True, None, None),
        Attempt("j", 0, 0, 2, "m", None, "e", 1.0, 2.0, 4.0, Outcome.FAILED, False, None, error),
        Attempt("j", 0, 0, 3, "m", None, None, None, None, 5.0, Outcome.SKIPPED),
    ]
    for one in attempts:
        if one.outcome in (Outcome.FINISHED, Outcome.SKIPPED):
            one.result = msgspec.Raw(b"1")
    async with store.transaction() as tx:
        row = (await tx.lock(["a"]))["a"]
        await tx.save([Step(row, attempts=attempts)])
    records = await store.stage_records("j", ALL_SIGHT)
    assert [(one.cycle, one.attempt, one.outcome) for one in records] == [
        (0, 1, "LOST"), (0, 2, "FAILED"), (0, 3, "SKIPPED"), (1, 1, "FINISHED"),
    ]  # fmt: skip
    assert bytes(records[1].error).decode() == error
    assert [one.rescued for one in records] == [True, False, False, False]


async def received(store: Store, *pairs: tuple[str, str]) -> list[tuple[str, str]]:
    """Those pairs of a task and a message of which the task remembers the message."""
    async with store.transaction() as tx:
        return [pair for pair in pairs if await tx.received(dict([pair]))]


async def test_ids_of_messages_are_kept_as_long_as_the_run(store: Store) -> None:
    hook = Command("_MESSAGE_")
    for name in ("a", "b"):
        await add(store, definition(name, commands=[hook]))
        for index in range(3):
            await happen(
                store, name, MessageCame(message_id=f"m{index}", name=None, data=Raw(b"1"))
            )
            await happen(store, name, RunNow(job_id=f"job-{name}-{index}"))
    await happen(store, "b", Cancel())
    pairs = [(name, f"m{index}") for name in ("a", "b") for index in range(3)]
    assert await received(store, *pairs, ("c", "m0"), ("a", "m9")) == pairs
    assert await pruned(store.prune_received, 1.0, 100) == 0
    assert await pruned(store.prune_received, FOREVER, 2) == 6
    assert await received(store, *pairs) == []


async def test_ids_of_messages_of_the_last_run_are_never_pruned(store: Store) -> None:
    hook = Command("_MESSAGE_")
    await add(store, definition("a", commands=[hook]))
    await happen(store, "a", MessageCame(message_id="m", name=None, data=Raw(b"1")))
    await add(store, definition("every", commands=[hook], every=3600.0), next_run=1.0)
    await happen(store, "every", MessageCame(message_id="m", name=None, data=Raw(b"1")))
    await happen(store, "every", Reset(job_id="job-1"))
    await happen(store, "every", Cancel())
    assert await received(store, ("a", "m"), ("every", "m")) == [("a", "m"), ("every", "m")]
    assert await pruned(store.prune_received, FOREVER, 100) == 1
    assert await received(store, ("a", "m"), ("every", "m")) == [("a", "m")]
    await happen(store, "a", Delete())
    assert await received(store, ("a", "m")) == []

"""Tasks and executors for tests of the stores, made by the same core that makes real ones."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from msgspec import Raw

from kaiju_tasks.lifecycle import (
    Acquired,
    Command,
    Definition,
    Event,
    MessageCame,
    Row,
    StageFinished,
    Step,
    TaskState,
    advance,
    create,
)
from kaiju_tasks.protocol import Lease
from kaiju_tasks.store import ExecutorRow, Store, Transaction
from kaiju_tasks.store.base import Pruned
from kaiju_tasks.types import ExecutorStatus

CREATED = "2026-01-02T03:04:05.678901+00:00"
ECHO = Command("do.echo", Raw(b'{"data":1}'))


def definition(id: str, *, stages: int = 1, **fields: Any) -> Definition:
    """A definition of a pipeline of `do.echo`, or of the `commands` given."""
    fields.setdefault("commands", [ECHO] * stages)
    fields.setdefault("app_name", "default")
    fields.setdefault("created", CREATED)
    return Definition(id=id, **fields)


def new_step(task: Definition | str, now: float, **options: Any) -> Step:
    """The step that creates a task; its run is `job-<id>`."""
    made = definition(task) if isinstance(task, str) else task
    options.setdefault("job_id", f"job-{made.id}")
    options.setdefault("rev", 1)
    step = create(made, now, **options)
    step.definition = made  # with its `created`
    return step


async def add(store: Store, *tasks: Definition | str, **options: Any) -> None:
    """Create tasks in one transaction."""
    async with store.transaction() as tx:
        assert not await tx.insert([new_step(task, tx.now, **options) for task in tasks])


def executor(id: str = "e1", *, now: float = 0.0, **fields: Any) -> ExecutorRow:
    """An ACTIVE executor with session `s1` and a lease of 15 seconds."""
    defaults: dict[str, Any] = {
        "session": "s1",
        "status": ExecutorStatus.ACTIVE,
        "app_names": ["default"],
        "commands": Raw(b"[]"),
        "capacity": 10,
        "host": None,
        "pid": None,
        "version": None,
        "manager_id": "m1",
        "connected_at": now,
        "last_ping": now,
        "lease_until": now + 15,
    }
    return ExecutorRow(id=id, **{**defaults, **fields})


async def connect(store: Store, id: str = "e1", **fields: Any) -> None:
    """Store an executor."""
    async with store.transaction() as tx:
        await tx.put_executor(executor(id, now=tx.now, **fields))


async def acquire(
    store: Store,
    limit: int = 100,
    *,
    executor_id: str = "e1",
    app_name: str = "default",
    ready: int = 1,
) -> list[Row]:
    """Acquire tasks as a manager does; the rows as they are then."""
    async with store.transaction() as tx:
        rows = await tx.lock_ready(
            app_name, limit, executor_id=executor_id, session="s1", ready=ready
        )
        assert rows is not None
        event = Acquired(executor_id=executor_id, nonce="nonce")
        steps = await advance_all(tx, rows, lambda row: event)
        await tx.save(steps)
    return [step.row for step in steps]


async def finish(store: Store, rows: Sequence[Row], result: bytes = b'{"ok":true}') -> list[Row]:
    """Report the current stage of EXECUTED rows as finished."""
    async with store.transaction() as tx:
        locked = await tx.lock([row.id for row in rows])
        steps = await advance_all(tx, locked.values(), lambda row: finished(row, result))
        await tx.save(steps)
    return [step.row for step in steps]


async def happen(store: Store, id: str, event: Event) -> Step:
    """Let an event happen to a task, as a manager does."""
    async with store.transaction() as tx:
        locked = await tx.lock([id])
        (step,) = await advance_all(tx, locked.values(), lambda row: event)
        if step.changed:
            await tx.save([step])
    return step


async def pruned(
    prune: Callable[[float, int, float], Awaitable[Pruned]], before: float, limit: int
) -> int:
    """Make a pass over old rows, in parts of `limit`; the number of deleted rows."""
    deleted, after = 0, -1.0
    while (found := await prune(before, limit, after)).upto is not None:
        deleted, after = deleted + found.deleted, found.upto
    return deleted


def finished(row: Row, result: bytes = b"null") -> StageFinished:
    """The report that a row's current stage is finished."""
    return StageFinished(lease=lease_of(row), stage=row.stage, result=Raw(result))


def lease_of(row: Row) -> Lease:
    assert row.job_id is not None
    assert row.nonce is not None
    return Lease(row.id, row.job_id, row.epoch, row.nonce)


async def advance_all(tx: Transaction, rows: Any, event: Callable[[Row], Event]) -> list[Step]:
    """Advance locked rows with all that the core may want to know of them."""
    listed = list(rows)
    ids = [row.id for row in listed]
    definitions = await tx.definitions(ids)
    inboxes: dict[str, Any] = {}
    if any(one.definition.takes_messages for one in definitions.values()):
        inboxes = await tx.inboxes(ids)
    steps = []
    for row in listed:
        inbox = tuple(inboxes.get(row.id, ()))
        state = TaskState(row, definitions[row.id].definition, inbox=inbox)
        what = event(row)
        if isinstance(what, MessageCame) and await tx.received({row.id: what.message_id}):
            state.received = frozenset({what.message_id})
        steps.append(advance(state, what, tx.now))
    return steps

"""Versions of definitions: what is kept of them and for how long, on both stores."""

import re
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import msgspec
import pytest
from msgspec import Raw
from msgspec.structs import replace

from kaiju_tasks.lifecycle import (
    VERSIONS_KEPT,
    Author,
    BrokenDefinition,
    Cancel,
    Definition,
    Delete,
    RunNow,
    Step,
    Update,
)
from kaiju_tasks.rights import ALL_SIGHT
from kaiju_tasks.store import Store
from kaiju_tasks.store.open import make_store
from kaiju_tasks.store.postgres import migrating as postgres_migrating
from kaiju_tasks.types import NewTask
from tests.store.making import acquire, add, connect, definition, finish, happen, pruned

FOREVER = 9e9


async def change(store: Store, id: str, priority: int, rev: int | None = None) -> Step:
    """Change the priority of a task."""
    defined = (await store.tasks([id], ALL_SIGHT))[id].definition
    update = Update(
        definition=replace(defined, priority=priority),
        rev=100 + priority if rev is None else rev,
        enabled=True,
        changed=frozenset({"priority"}),
        job_id=f"job-{priority}",
        author=Author("ann", "why not"),
    )
    return await happen(store, id, update)


async def versions(store: Store, id: str, before: int = 1000) -> list[int]:
    found = await store.versions(id, ALL_SIGHT, before=before, limit=200)
    return [one.version for one in found]


async def test_a_replaced_definition_is_kept_as_it_was(store: Store) -> None:
    await add(store, "a")
    await change(store, "a", 1)
    await change(store, "a", 2)
    second, first = await store.versions("a", ALL_SIGHT, before=3, limit=10)
    assert (first.version, first.priority, first.edit) == (1, 0, None)
    assert (second.version, second.priority) == (2, 1)
    assert second.edit is not None
    assert (second.edit.user_id, second.edit.reason) == ("ann", "why not")
    assert second.edit.changed == ["priority"]
    assert await versions(store, "a", before=2) == [1]
    assert (await store.tasks(["a"], ALL_SIGHT))["a"].definition.version == 3


async def test_a_repeated_update_keeps_nothing_twice(store: Store) -> None:
    await add(store, "a")
    await change(store, "a", 1, rev=7)
    assert not (await change(store, "a", 2, rev=7)).changed
    assert await versions(store, "a") == [1]


async def test_only_the_last_versions_are_kept(store: Store) -> None:
    await add(store, "a", "b")
    await change(store, "b", 1)
    for number in range(1, VERSIONS_KEPT + 4):
        await change(store, "a", number)
    kept = await versions(store, "a")
    assert (kept[0], len(kept)) == (VERSIONS_KEPT + 3, VERSIONS_KEPT)
    assert await versions(store, "b") == [1]


async def test_versions_are_pruned_unless_a_kept_run_has_used_them(store: Store) -> None:
    await connect(store)
    await add(store, "a", definition("idle", app_name="x"))
    await change(store, "idle", 1)
    await change(store, "a", 1)
    await finish(store, await acquire(store))  # with version 2
    await change(store, "a", 2)
    await change(store, "a", 3)
    assert await pruned(store.prune_versions, 1.0, 100) == 0
    assert await pruned(store.prune_versions, FOREVER, 1) == 1
    await pruned(store.prune_versions, FOREVER, 100)
    assert await versions(store, "a") == [2, 1]  # the run began with version 1
    assert await versions(store, "idle") == [1]  # its run is open, and began with version 1
    await happen(store, "a", RunNow(job_id="again"))
    await finish(store, await acquire(store))
    await pruned(store.prune_runs, FOREVER, 100)
    assert await pruned(store.prune_versions, FOREVER, 100) == 2
    assert await versions(store, "a") == []


async def test_a_pass_looks_at_each_version_once(store: Store) -> None:
    await add(store, *(definition(f"t{n}", app_name="x") for n in range(6)))
    for n in range(6):
        await change(store, f"t{n}", 1)  # its run is open: the version stays
    await add(store, "old")
    await happen(store, "old", Cancel())
    await change(store, "old", 1)
    await change(store, "old", 2)
    after, passed = -1.0, []
    for _ in range(10):
        found = await store.prune_versions(FOREVER, 2, after)
        if found.upto is None:
            break
        passed.append(found.deleted)
        assert found.upto > after
        after = found.upto
    assert len(passed) <= 4  # parts of two
    assert sum(passed) == 1
    assert [await versions(store, id) for id in ("t0", "t5", "old")] == [[1], [1], [1]]


async def test_a_version_that_was_replaced_during_a_run_is_kept_with_the_run(store: Store) -> None:
    await connect(store)
    await add(store, definition("a", stages=2))
    await finish(store, await acquire(store))
    await change(store, "a", 1)
    assert await pruned(store.prune_versions, FOREVER, 100) == 0
    await finish(store, [(await store.tasks(["a"], ALL_SIGHT))["a"].row])
    assert [one.rev for one in await store.stage_records("job-a", ALL_SIGHT)] == [1, 2]
    assert await pruned(store.prune_versions, FOREVER, 100) == 0
    assert await versions(store, "a") == [1]


async def test_a_deleted_task_leaves_no_versions(store: Store) -> None:
    await add(store, "a")
    await change(store, "a", 1)
    await happen(store, "a", Delete())
    await add(store, "a")
    assert await versions(store, "a") == []


async def test_a_kept_version_is_never_overwritten(store: Store) -> None:
    await add(store, "a")
    await change(store, "a", 1)
    rewound = replace((await store.tasks(["a"], ALL_SIGHT))["a"].definition, version=1, edit=None)
    async with store.transaction() as tx:
        row = (await tx.lock(["a"]))["a"]
        row.rev = 200
        await tx.save([Step(row, definition=rewound)])
    await change(store, "a", 2)
    (first,) = await store.versions("a", ALL_SIGHT, before=2, limit=10)
    assert (first.version, first.priority) == (1, 0)


class Earlier:
    """A manager of an earlier version: it writes definitions back without the fields that it does
    not know."""

    def __init__(self, store: Store, connection: Any) -> None:
        self._store = store
        self._connection = connection

    async def write(self, id: str, **fields: Any) -> Definition:
        """The definition, as the present version reads it."""
        (body,) = await self._connection.fetchrow(
            "SELECT body FROM definitions WHERE task_id = $1", id
        )
        known = msgspec.json.decode(body, type=dict[str, Raw])
        for name in ("version", "edit", "run_edits"):
            known.pop(name, None)
        known |= {name: Raw(msgspec.json.encode(value)) for name, value in fields.items()}
        rev = 1000 + len(fields)
        await self._connection.execute(
            "INSERT INTO definitions (task_id, rev, body, created, system, notify) "
            "VALUES ($1, $2, $3, '', false, false) ON CONFLICT (task_id) DO UPDATE "
            "SET rev = excluded.rev, body = excluded.body",
            id,
            rev,
            msgspec.json.encode(known).decode(),
        )
        await self._connection.execute("UPDATE tasks SET rev = $2 WHERE id = $1", id, rev)
        return (await self._store.tasks([id], ALL_SIGHT))[id].definition


@pytest.fixture
async def upgraded(postgres_dsn: str) -> AsyncIterator[tuple[Store, Earlier]]:
    """A store of the present version, and a manager of an earlier one on its database."""
    store = make_store(postgres_dsn)
    await store.open()
    connection = await asyncpg.connect(postgres_dsn)
    yield store, Earlier(store, connection)
    await connection.close()
    await store.close()


async def test_what_a_manager_of_an_earlier_version_writes_is_the_next_version(
    upgraded: tuple[Store, Earlier],
) -> None:
    store, earlier = upgraded
    await add(store, definition("a", kws=Raw(b'{"text":"\\u0000","version":7}')))
    first = await earlier.write("a", priority=5)
    assert (first.version, first.priority) == (2, 5)
    assert first.edit is not None
    assert (first.edit.changed, first.edit.user_id) == (["priority"], None)
    await change(store, "a", 6)
    unchanged = await earlier.write("a")
    assert (unchanged.version, unchanged.priority) == (3, 6)
    assert unchanged.edit is not None
    assert unchanged.edit.user_id == "ann"
    last = await earlier.write("a", priority=7, description="d")
    assert last.version == 4
    assert last.edit is not None
    assert last.edit.changed == ["description", "priority"]
    await change(store, "a", 8)
    kept = await store.versions("a", ALL_SIGHT, before=1000, limit=10)
    assert [(one.version, one.priority) for one in kept] == [(4, 7), (3, 6), (2, 5), (1, 0)]
    assert (await store.tasks(["a"], ALL_SIGHT))["a"].definition.version == 5


async def test_a_damaged_definition_is_written_as_it_is(
    upgraded: tuple[Store, Earlier], postgres_dsn: str
) -> None:
    store, _ = upgraded
    await add(store, "a")
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute("UPDATE definitions SET body = 'no'")
    await connection.execute("UPDATE definitions SET body = '[1]'")
    await connection.close()
    assert isinstance((await store.tasks(["a"], ALL_SIGHT))["a"].definition, BrokenDefinition)


def test_the_trigger_knows_which_fields_clients_do_not_set() -> None:
    (rewritten,) = (one for one in postgres_migrating.MIGRATIONS if one.name == "rewritten")
    listed = re.findall(r"'(\w+)'", rewritten.sql.partition("ARRAY[")[2].partition("]")[0])
    ours = set(Definition.__struct_fields__) - set(NewTask.__struct_fields__)
    assert sorted(listed) == sorted({"id", "delayed", *ours})

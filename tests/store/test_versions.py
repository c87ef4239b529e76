"""Versions of definitions: what is kept of them and for how long, on both stores."""

from msgspec.structs import replace

from kaiju_tasks.lifecycle import VERSIONS_KEPT, Author, Delete, RunNow, Step, Update
from kaiju_tasks.rights import ALL_SIGHT
from kaiju_tasks.store import Store
from tests.store.making import acquire, add, connect, definition, finish, happen

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
    assert await store.prune_versions(1.0, 100) == 0
    assert await store.prune_versions(FOREVER, 1) == 1
    await store.prune_versions(FOREVER, 100)
    assert await versions(store, "a") == [2, 1]  # the run began with version 1
    assert await versions(store, "idle") == [1]  # its run is open, and began with version 1
    await happen(store, "a", RunNow(job_id="again"))
    await finish(store, await acquire(store))
    await store.prune_runs(FOREVER, 100)
    assert await store.prune_versions(FOREVER, 100) == 2
    assert await versions(store, "a") == []


async def test_a_version_that_was_replaced_during_a_run_is_kept_with_the_run(store: Store) -> None:
    await connect(store)
    await add(store, definition("a", stages=2))
    await finish(store, await acquire(store))
    await change(store, "a", 1)
    assert await store.prune_versions(FOREVER, 100) == 0
    await finish(store, [(await store.tasks(["a"], ALL_SIGHT))["a"].row])
    assert [one.rev for one in await store.stage_records("job-a", ALL_SIGHT)] == [1, 2]
    assert await store.prune_versions(FOREVER, 100) == 0
    assert await versions(store, "a") == [1]


async def test_a_deleted_task_leaves_no_versions(store: Store) -> None:
    await add(store, "a")
    await change(store, "a", 1)
    await happen(store, "a", Delete())
    await add(store, "a")
    assert await versions(store, "a") == []

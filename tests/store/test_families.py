"""The next tasks of tasks, and the sizes of families."""

import msgspec

from kaiju_tasks.store import Store
from tests.store.making import new_step


async def follow(store: Store, **next_of: str | None) -> None:
    async with store.transaction() as tx:
        steps = [new_step(task_id, tx.now) for task_id in next_of]
        for step, next_task in zip(steps, next_of.values(), strict=True):
            assert step.definition is not None
            step.definition = msgspec.structs.replace(step.definition, next_task=next_task)
        await tx.insert(steps)


async def test_all_that_follow_a_task_are_read_once_circles_included(store: Store) -> None:
    await follow(store, a="b", b="c", c="b", d=None, e="gone", f="a")
    circle = {"a": "b", "b": "c", "c": "b"}
    assert await store.next_tasks(["a"]) == circle
    assert await store.next_tasks(["d", "e", "nobody", "a\0"]) == {"d": None, "e": "gone"}
    async with store.transaction() as tx:
        assert await tx.next_tasks(["a", "d"]) == {**circle, "d": None}
        assert await tx.next_tasks([]) == {}


async def test_families_grow_and_are_forgotten(store: Store) -> None:
    async with store.transaction() as tx:
        assert await tx.family_sizes(["x"]) == {}
        assert await tx.grow_families({"x": 2, "a": 1}) == {"x": 2, "a": 1}
        assert await tx.grow_families({"x": 3}) == {"x": 5}
        now = tx.now
    async with store.transaction() as tx:
        assert await tx.family_sizes(["x", "y"]) == {"x": 5}
    assert await store.prune_families(now - 1) == 0
    assert await store.prune_families(now + 1) == 2


async def test_a_transaction_that_fails_leaves_a_family_as_it_was(store: Store) -> None:
    class No(Exception):
        pass

    try:
        async with store.transaction() as tx:
            await tx.grow_families({"x": 2})
            raise No
    except No:
        pass
    async with store.transaction() as tx:
        assert await tx.family_sizes(["x"]) == {}

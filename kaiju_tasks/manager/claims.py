"""Unique keys that were taken for tasks which were not made, or were over at once."""

from collections.abc import Sequence

from kaiju_tasks.lifecycle import claimed
from kaiju_tasks.manager.states import States
from kaiju_tasks.store.base import Transaction


async def let_go(tx: Transaction, states: States, ids: Sequence[str]) -> None:
    """Tasks hold no more than the key that is their own; others may have taken theirs by id."""
    if not ids:
        return
    there = await states.lock(tx, ids)
    await tx.unclaim(ids)
    own = {
        key: task_id
        for task_id, state in there.items()
        if (key := claimed(state.row, state.definition)) is not None
    }
    if own:
        await tx.claim(own)

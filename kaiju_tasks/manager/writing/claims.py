"""Unique keys that an edit takes, and those taken for tasks that were not made or are over."""

from collections.abc import Iterable, Sequence

from kaiju_tasks.lifecycle import Step, claimed
from kaiju_tasks.manager.writing.states import States
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


async def held_elsewhere(tx: Transaction, steps: Iterable[Step]) -> dict[str, str]:
    """Take the keys that edits bring along.

    :returns: of tasks whose new key another one holds, which
    """
    wanted: dict[str, str] = {}
    twice: dict[str, str] = {}
    for step in steps:
        if step.claim and step.definition is not None:
            holder = wanted.setdefault(step.claim, step.row.id)
            if holder != step.row.id:
                twice[step.row.id] = holder
    held = await tx.claim(wanted) if wanted else {}
    found = {wanted[key]: holder for key, holder in held.items() if holder != wanted[key]}
    return {**twice, **found}

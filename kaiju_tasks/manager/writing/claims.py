"""Claims the unique keys that edits need, and releases keys that their tasks no longer need."""

from collections.abc import Iterable, Sequence

from kaiju_tasks.lifecycle import Step, claimed
from kaiju_tasks.manager.writing.states import States
from kaiju_tasks.store.base import Transaction


async def release_keys(tx: Transaction, states: States, ids: Sequence[str]) -> None:
    """Release all unique keys of these tasks, except the key that an existing task still needs."""
    if not ids:
        return
    existing = await states.lock(tx, ids)
    await tx.unclaim(ids)
    own = {
        key: task_id
        for task_id, state in existing.items()
        if (key := claimed(state.row, state.definition)) is not None
    }
    if own:
        await tx.claim(own)


async def held_elsewhere(tx: Transaction, steps: Iterable[Step]) -> dict[str, str]:
    """Claim the unique keys that edits introduce.

    :returns: for each task whose new key is held by another task, the id of that other task
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

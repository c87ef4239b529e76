"""Inserts new tasks whose ids and unique keys are free."""

from collections.abc import Sequence

from kaiju_tasks.lifecycle import Step, claimed, create
from kaiju_tasks.manager.writing.changes import Change
from kaiju_tasks.manager.writing.claims import release_keys
from kaiju_tasks.manager.writing.entries import AlreadyExists, Draft, Duplicate
from kaiju_tasks.manager.writing.states import States
from kaiju_tasks.store.base import Transaction, TransactionConflict


def presumable(draft: Draft) -> bool:
    """Whether a task can be created without a query, if its id is free."""
    definition = draft.definition
    if definition.unique_key is not None or definition.root_id is not None:
        return False
    concurrency = definition.concurrency
    return concurrency is None or concurrency.on_full != "drop"


class Inserts:
    """Inserts drafts."""

    def __init__(self, states: States) -> None:
        self._states = states

    async def insert(
        self, tx: Transaction, drafts: Sequence[Draft]
    ) -> list[Step | AlreadyExists | Duplicate]:
        """Insert the drafts that are new.

        :param drafts: drafts with different ids
        :returns: the outcome of each draft, in order
        """
        holders = await self._claim(tx, drafts)
        free = [draft for draft in drafts if draft.definition.id not in holders]
        steps, taken = await self._insert(tx, free)
        if taken:
            written = await self._written_before(tx, free, taken)
            steps |= written
            taken -= written.keys()
        await self._unclaim(tx, free, steps, taken, holders)
        outcomes: list[Step | AlreadyExists | Duplicate] = []
        for draft in drafts:
            task_id = draft.definition.id
            if task_id in holders:
                outcomes.append(Duplicate(holders[task_id], task_id))
            else:
                outcomes.append(AlreadyExists(task_id) if task_id in taken else steps[task_id])
        return outcomes

    async def holder(self, tx: Transaction, draft: Draft) -> str | None:
        """The task that holds the unique key of a draft, which is not inserted."""
        task_id = draft.definition.id
        holders = await self._claim(tx, [draft])
        if not holders:
            await release_keys(tx, self._states, [task_id])
        return holders.get(task_id)

    async def _insert(
        self, tx: Transaction, drafts: Sequence[Draft]
    ) -> tuple[dict[str, Step], set[str]]:
        """Insert drafts. If that has waited for a transaction that inserted one of the ids, insert
        them again, so that no task is older than the end of that transaction.

        :returns: the steps by id, and the ids that were taken
        """
        began = tx.now
        steps = await self._ready_steps(tx, drafts)
        taken = await tx.insert(list(steps.values())) if steps else set()
        if tx.now == began:
            return steps, taken
        inserted = [step for step in steps.values() if step.row.id not in taken]
        await tx.save([Step(step.row, deleted=True) for step in inserted])
        again = await self._ready_steps(tx, [d for d in drafts if d.definition.id not in taken])
        await tx.insert(list(again.values()))
        return steps | again, taken

    async def _ready_steps(self, tx: Transaction, drafts: Sequence[Draft]) -> dict[str, Step]:
        """Create tasks, and lease those that executors are free for."""
        steps = {draft.definition.id: self._created(draft, tx.now) for draft in drafts}
        created = [Change(steps[d.definition.id], d.definition, None) for d in drafts]
        await self._states.placings.place(tx, created)
        return steps

    async def _claim(self, tx: Transaction, drafts: Sequence[Draft]) -> dict[str, str]:
        """Claim the unique keys of drafts.

        :returns: for each draft whose key is held already, the id of the holder
        """
        keyed = [draft for draft in drafts if draft.definition.unique_key is not None]
        if not keyed:
            return {}
        existing = await self._states.lock(tx, [draft.definition.id for draft in keyed])
        holders: dict[str, str] = {}
        wanted: dict[str, str] = {}
        for draft in keyed:
            task_id, key = draft.definition.id, draft.definition.unique_key
            assert key is not None
            state = existing.get(task_id)
            if state is None:
                wanted.setdefault(key, task_id)
            elif state.row.rev != draft.rev and claimed(state.row, state.definition) == key:
                holders[task_id] = task_id
        held = await tx.claim(wanted) if wanted else {}
        for draft in keyed:
            task_id, key = draft.definition.id, draft.definition.unique_key or ""
            holder = held.get(key, wanted.get(key))
            if task_id not in existing and holder is not None and holder != task_id:
                holders[task_id] = holder
        return holders

    async def _unclaim(
        self,
        tx: Transaction,
        inserted: Sequence[Draft],
        steps: dict[str, Step],
        taken: set[str],
        holders: dict[str, str],
    ) -> None:
        """Release keys that no task needs.

        :raises TransactionConflict: a key was claimed for a task whose id was taken meanwhile
        """
        keyed = {d.definition.id for d in inserted if d.definition.unique_key is not None}
        if taken.intersection(holders.values()) - holders.keys():
            raise TransactionConflict("an id was taken while its task claimed a unique key")
        unneeded = [id for id in keyed if id in taken or steps[id].claim is None]
        await release_keys(tx, self._states, sorted(unneeded))

    async def _written_before(
        self, tx: Transaction, drafts: Sequence[Draft], taken: set[str]
    ) -> dict[str, Step]:
        """Find tasks that an earlier attempt with an unknown outcome has inserted. Their
        consequences were saved with them."""
        rows = await tx.lock(taken)
        revs = {draft.definition.id: draft.rev for draft in drafts}
        return {
            task_id: Step(row, changed=False)
            for task_id, row in rows.items()
            if row.rev == revs[task_id]
        }

    def _created(self, draft: Draft, now: float) -> Step:
        return create(
            draft.definition,
            now,
            job_id=draft.job_id,
            rev=draft.rev,
            enabled=draft.enabled,
            next_run=draft.next_run,
            pauses=self._states.pauses,
        )

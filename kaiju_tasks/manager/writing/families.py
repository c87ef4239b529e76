"""Counts the tasks that each run sets going, itself and through others, over all transactions.

The counter of a family is read before tasks are created, and increased by the last statement of the
transaction, so that its lock never waits for a lock on a task. A transaction that finds a counter
above the limit only then was overtaken by another one, and runs again.
"""

from collections import Counter
from collections.abc import Iterable

from kaiju_tasks.errors import TooManyTasks
from kaiju_tasks.manager.writing.changes import Change
from kaiju_tasks.store.base import Transaction, TransactionConflict


class Families:
    """The families that grow in one transaction.

    :param most: the maximum number of tasks of a family
    """

    def __init__(self, tx: Transaction, most: int) -> None:
        self._tx = tx
        self._most = most
        self._grown: Counter[str] = Counter()
        self._sizes: dict[str, int] = {}

    def inserted(self, changes: Iterable[Change]) -> None:
        """Count the tasks that stages of the stream `manager` have created."""
        for change in changes:
            if change.before is None and change.step.changed:
                root_id = change.definition.root_id
                if root_id is not None:
                    self._grown[root_id] += 1

    async def grow(self, root_id: str, tasks: int) -> None:
        """Count tasks that a stage is about to create, or to run again.

        :raises TooManyTasks: they are too many
        """
        if root_id not in self._sizes:
            sizes = await self._tx.family_sizes([root_id])
            self._sizes[root_id] = sizes.get(root_id, 0)
        if self._sizes[root_id] + self._grown[root_id] + tasks > self._most:
            raise self._too_many(root_id)
        self._grown[root_id] += tasks

    async def save(self) -> None:
        """Save the counters.

        :raises TooManyTasks: the created tasks are too many
        :raises TransactionConflict: another transaction has created tasks of the family meanwhile
        """
        if not self._grown:
            return
        for root_id, size in (await self._tx.grow_families(self._grown)).items():
            if size <= self._most:
                continue
            if self._sizes.get(root_id, self._most) + self._grown[root_id] <= self._most:
                raise TransactionConflict("another transaction has created tasks of the family")
            raise self._too_many(root_id)

    def _too_many(self, root_id: str) -> TooManyTasks:
        return TooManyTasks(
            f"the run {root_id!r:.300} has set too many tasks going, itself and through what it "
            f"created: `max_family_tasks` is {self._most}",
            root_id=root_id,
        )

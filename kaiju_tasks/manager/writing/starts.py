"""Starts next tasks in the transaction that ends the run before them.

Each end of a run causes one start. In a chain of tasks that end immediately, the scheduler starts
the tasks beyond MAX_CHAIN.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from kaiju_tasks.lifecycle import Cause, Start, TaskState
from kaiju_tasks.manager.dice import Dice
from kaiju_tasks.manager.writing.changes import Change
from kaiju_tasks.manager.writing.states import States
from kaiju_tasks.store.base import Transaction

MAX_CHAIN = 3


class Starts:
    """Starts next tasks."""

    def __init__(self, states: States, dice: Dice) -> None:
        self._states = states
        self._dice = dice

    async def follow(self, tx: Transaction, changes: Iterable[Change], chain: int) -> list[Change]:
        """Start the next tasks of these changes, once for each end, and save them.

        :param chain: the number of ends in the chain so far
        """
        waiting: Counter[tuple[str, Cause]] = Counter()
        owners: dict[Cause, str | None] = {}
        for change in changes:
            step = change.step
            if step.start_next is not None and step.cause is not None:
                waiting[step.start_next, step.cause] += 1
                owners[step.cause] = change.definition.user_id
        started: list[Change] = []
        while waiting:
            wave = await self._start(tx, waiting, owners, chain)
            await self._states.placings.place(tx, wave)
            await tx.save([change.step for change in wave])
            started += wave
        return started

    async def _start(
        self,
        tx: Transaction,
        waiting: Counter[tuple[str, Cause]],
        owners: Mapping[Cause, str | None],
        chain: int,
    ) -> list[Change]:
        """Start each task once, and remove the completed starts from `waiting`.

        :param owners: of the runs that have ended
        """
        causes = dict(reversed(list(waiting)))
        states = await self._states.lock(tx, causes)

        def start(state: TaskState) -> Start:
            cause = causes[state.row.id]
            owner = owners[cause]
            return Start(
                job_id=self._dice.new_id(),
                cause=cause,
                later=chain > MAX_CHAIN,
                denied=owner != state.definition.user_id and self._states.pauses.disabled(owner),
            )

        wave = self._states.advance(tx, states.values(), start)
        open_to_more = {change.step.row.id for change in wave if not change.step.row.start_next}
        for target, cause in list(waiting):
            if causes[target] == cause:
                waiting[target, cause] -= 1
            if waiting[target, cause] < 1 or target not in open_to_more:
                del waiting[target, cause]
        return wave

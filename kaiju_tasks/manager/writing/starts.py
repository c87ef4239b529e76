"""Next tasks, started in the transaction that ends the run before them.

Each end of a run is one start. A chain of tasks that end at once is not followed for ever: from
MAX_CHAIN on the next one is left to the scheduler.
"""

from collections import Counter
from collections.abc import Iterable

from kaiju_tasks.lifecycle import Start, TaskState
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
        """Start what these changes name as next, each once for each end, and save that.

        :param chain: how many ends led here
        """
        waiting = Counter(
            (change.step.start_next, change.step.row.id)
            for change in changes
            if change.step.start_next is not None
        )
        started: list[Change] = []
        while waiting:
            wave = await self._start(tx, waiting, chain)
            await tx.save([change.step for change in wave])
            started += wave
        return started

    async def _start(
        self, tx: Transaction, waiting: Counter[tuple[str, str]], chain: int
    ) -> list[Change]:
        """Start each task once; what needs no further start is taken out of `waiting`."""
        by = dict(reversed(list(waiting)))
        states = await self._states.lock(tx, by)

        def start(state: TaskState) -> Start:
            later = chain > MAX_CHAIN
            return Start(job_id=self._dice.new_id(), by=by[state.row.id], later=later)

        wave = self._states.advance(tx, states.values(), start)
        open_to_more = {change.step.row.id for change in wave if not change.step.row.start_next}
        for target, name in list(waiting):
            if by[target] == name:
                waiting[target, name] -= 1
            if waiting[target, name] < 1 or target not in open_to_more:
                del waiting[target, name]
        return wave

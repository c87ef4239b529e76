"""Starts next tasks in the transaction that ends the run before them.

Each end of a run causes one start. In a chain of tasks that end immediately, the scheduler starts
the tasks beyond MAX_CHAIN.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from kaiju_tasks.lifecycle import Cause, Definition, Start, TaskState
from kaiju_tasks.manager.dice import Dice
from kaiju_tasks.manager.writing.changes import Change
from kaiju_tasks.manager.writing.run_rights import RunRights, may_start
from kaiju_tasks.manager.writing.states import States
from kaiju_tasks.store.base import Transaction

MAX_CHAIN = 3


class Starts:
    """Starts next tasks."""

    def __init__(self, states: States, dice: Dice, rights: RunRights) -> None:
        self._states = states
        self._rights = rights
        self._dice = dice

    async def follow(self, tx: Transaction, changes: Iterable[Change], chain: int) -> list[Change]:
        """Start the next tasks of these changes, once for each end, and save them.

        :param chain: the number of ends in the chain so far
        """
        waiting: Counter[tuple[str, Cause]] = Counter()
        sources: dict[Cause, Definition] = {}
        for change in changes:
            step = change.step
            if step.start_next is not None and step.cause is not None:
                waiting[step.start_next, step.cause] += 1
                sources[step.cause] = change.definition
        started: list[Change] = []
        while waiting:
            wave = await self._start(tx, waiting, sources, chain)
            await self._states.placings.place(tx, wave)
            await tx.save([change.step for change in wave])
            started += wave
        return started

    async def _start(
        self,
        tx: Transaction,
        waiting: Counter[tuple[str, Cause]],
        sources: Mapping[Cause, Definition],
        chain: int,
    ) -> list[Change]:
        """Start each task once, and remove the completed starts from `waiting`.

        :param sources: the tasks of the runs that have ended
        """
        causes = dict(reversed(list(waiting)))
        states = await self._states.lock(tx, causes)
        denied = {
            task_id: await self._denied(tx, sources[causes[task_id]], state.definition)
            for task_id, state in states.items()
        }

        def start(state: TaskState) -> Start:
            cause = causes[state.row.id]
            return Start(
                job_id=self._dice.new_id(),
                cause=cause,
                later=chain > MAX_CHAIN,
                denied=denied[state.row.id],
            )

        wave = self._states.advance(tx, states.values(), start)
        open_to_more = {change.step.row.id for change in wave if not change.step.row.start_next}
        for target, cause in list(waiting):
            if causes[target] == cause:
                waiting[target, cause] -= 1
            if waiting[target, cause] < 1 or target not in open_to_more:
                del waiting[target, cause]
        return wave

    async def _denied(self, tx: Transaction, source: Definition, target: Definition) -> str | None:
        """Why the end of a run must not start a task. This was checked when `next_task` was
        written, but the task can be another one since.

        :param source: of the run
        """
        same_owner = source.user_id == target.user_id
        if not same_owner and self._states.pauses.disabled(source.user_id):
            return "the owner of that task is disabled"
        if source.token_id is None or (same_owner and source.app_name == target.app_name):
            return None
        if may_start(await self._rights.of(tx, source), target):
            return None
        return "that task has no right to start this one"

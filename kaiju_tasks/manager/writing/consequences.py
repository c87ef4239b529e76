"""Applies the consequences of steps in their transaction: next tasks, webhooks, children, slots."""

from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.manager.dice import Dice
from kaiju_tasks.manager.writing.accounts import Accounts
from kaiju_tasks.manager.writing.changes import Change
from kaiju_tasks.manager.writing.children import ChildTasks
from kaiju_tasks.manager.writing.families import Families
from kaiju_tasks.manager.writing.run_rights import RunRights
from kaiju_tasks.manager.writing.slots import Slots
from kaiju_tasks.manager.writing.starts import Starts
from kaiju_tasks.manager.writing.states import States
from kaiju_tasks.manager.writing.webhooks import Webhooks
from kaiju_tasks.settings import Settings
from kaiju_tasks.store.base import Transaction

MAX_SPAWNED = 20_000
"""The maximum number of children that one transaction creates for `_TASKS_` stages."""


class TooManyChildren(InvalidParams):
    """Several changes together create too many tasks. Save fewer changes in a transaction."""

    def __init__(self) -> None:
        super().__init__(
            f"these tasks would create more than {MAX_SPAWNED} child tasks at once: create fewer "
            "of them in one call",
            field="data",
        )


class Consequences:
    """Saves changes and their consequences, until a change has no further consequences."""

    def __init__(self, states: States, dice: Dice, settings: Settings, accounts: Accounts) -> None:
        self._states = states
        rights = RunRights()
        self._starts = Starts(states, dice, rights)
        self._webhooks = Webhooks(states, dice)
        self.children = ChildTasks(states, dice, settings, rights, accounts)
        self._family_tasks_max = settings.max_family_tasks

    async def save(self, tx: Transaction, changes: list[Change], slots: Slots) -> None:
        """Save changes and their consequences.

        :param changes: the changes, of which insertions are saved already; the consequences are
            appended
        :raises TooManyChildren: several changes together create too many tasks
        :raises TooManyTasks: the created tasks of a family are too many
        """
        abandoned = await self.children.abandoned(tx, changes)
        known = [change for change in changes if change.before is not None]
        await self._states.placings.place(tx, known)
        await tx.save([change.step for change in known])
        wave = [change for change in changes if change.step.changed]
        families = Families(tx, self._family_tasks_max)
        families.inserted(wave)
        uncounted, chain, room = list(wave), 0, MAX_SPAWNED
        several = len(wave) > 1
        while wave:
            chain += 1
            spawned = sum(len(c.step.spawn.children) for c in wave if c.step.spawn is not None)
            if spawned > room and several:
                raise TooManyChildren
            caused = await self.children.cancel(tx, abandoned)
            await self.children.lock_named(tx, wave)
            for change in wave:
                if (spawn := change.step.spawn) is not None:
                    room -= len(spawn.children)
                    caused += await self.children.spawn(tx, change, families, refused=room < 0)
            caused += await self._starts.follow(tx, wave, chain)
            caused += await self._webhooks.follow(tx, wave)
            uncounted += caused
            if not caused:
                caused = await slots.settle(uncounted)
                uncounted = list(caused)
            abandoned = await self.children.abandoned(tx, caused)
            changes += caused
            wave = caused
        await families.save()

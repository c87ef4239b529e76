"""What steps set going in their transaction: next tasks, webhooks, children, slots."""

from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.manager.dice import Dice
from kaiju_tasks.manager.writing.changes import Change
from kaiju_tasks.manager.writing.children import Family
from kaiju_tasks.manager.writing.slots import Slots
from kaiju_tasks.manager.writing.starts import Starts
from kaiju_tasks.manager.writing.states import States
from kaiju_tasks.manager.writing.webhooks import Webhooks
from kaiju_tasks.settings import Settings
from kaiju_tasks.store.base import Transaction

MAX_BORN = 20_000
"""Children created in one transaction, by stages that reach their `_TASKS_` at once."""


class TooManyChildren(InvalidParams):
    """Several changes together create too many tasks: each is to be saved with fewer others."""

    def __init__(self) -> None:
        super().__init__(
            f"these tasks would create more than {MAX_BORN} others at once: create fewer of them "
            "in one call",
            field="data",
        )


class Consequences:
    """Saves changes, and follows what they cause until nothing more is caused."""

    def __init__(self, states: States, dice: Dice, settings: Settings) -> None:
        self._starts = Starts(states, dice)
        self._webhooks = Webhooks(states, dice)
        self.family = Family(states, dice, settings)

    async def save(self, tx: Transaction, changes: list[Change], slots: Slots) -> None:
        """Save changes (inserted ones are saved already); what they cause is added to them.

        :raises TooManyChildren: there are several, and their stages create too many tasks
        """
        alone = await self.family.abandoned(tx, changes)
        await tx.save([change.step for change in changes if change.before is not None])
        wave = [change for change in changes if change.step.changed]
        uncounted, chain, room = list(wave), 0, MAX_BORN
        several = len(wave) > 1
        while wave:
            chain += 1
            born = sum(len(c.step.spawn.children) for c in wave if c.step.spawn is not None)
            if born > room and several:
                raise TooManyChildren
            caused = await self.family.cancel(tx, alone)
            await self.family.lock_named(tx, wave)
            for change in wave:
                if (spawn := change.step.spawn) is not None:
                    room -= len(spawn.children)
                    caused += await self.family.spawn(tx, change, refused=room < 0)
            caused += await self._starts.follow(tx, wave, chain)
            caused += await self._webhooks.follow(tx, wave)
            uncounted += caused
            if not caused:
                caused = await slots.settle(uncounted)
                uncounted = list(caused)
            alone = await self.family.abandoned(tx, caused)
            changes += caused
            wave = caused

"""Holds what an executor offers at the moment: how many tasks, and which commands."""

from collections.abc import Callable, Sequence

from kaiju_tasks.protocol import CommandInfo

__all__ = ["Offer"]


class Offer:
    """What an executor offers beside its registered commands. It may change at any time.

    :ivar ceiling: the most tasks that the process may hold; None for no limit, 0 while what the
        executor depends on is away
    :ivar commands: commands that are announced in addition to the registered ones
    :ivar on_ceiling: called when `ceiling` has changed
    :ivar on_commands: called when `commands` have changed
    """

    def __init__(self) -> None:
        self.ceiling: int | None = None
        self.commands: tuple[CommandInfo, ...] = ()
        self.on_ceiling: Callable[[], None] = _nothing
        self.on_commands: Callable[[], None] = _nothing

    def limit(self, ceiling: int | None) -> None:
        """Set the ceiling."""
        if ceiling != self.ceiling:
            self.ceiling = ceiling
            self.on_ceiling()

    def announce(self, commands: Sequence[CommandInfo]) -> None:
        """Set the commands."""
        if self.commands != tuple(commands):
            self.commands = tuple(commands)
            self.on_commands()


def _nothing() -> None:
    return None

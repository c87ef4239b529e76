"""The outcome of each case, and the level that an executor reaches."""

from enum import StrEnum

from msgspec import Struct

__all__ = ["LEVELS", "Level", "Outcome", "Report"]


class Level(StrEnum):
    """Which parts of the protocol an executor implements. Each level includes those before it.

    `core` is what no executor can do without; `templates` fills parameters and decides conditions
    as the library does; `full` is the rest of the protocol.
    """

    CORE = "core"
    TEMPLATES = "templates"
    FULL = "full"


LEVELS = tuple(Level)


class Outcome(Struct, frozen=True):
    """How a case has ended.

    :param name: of the case
    :param rule: what the protocol demands, a sentence
    :param problem: how the executor deviates, a sentence; None if it passed
    :param seconds: that the case took
    """

    level: Level
    name: str
    rule: str
    problem: str | None
    seconds: float


class Report(Struct, frozen=True):
    """All outcomes.

    :param fill: whether the executor leaves templates, conditions and checks to the manager
    """

    outcomes: list[Outcome]
    fill: bool = False

    @property
    def reached(self) -> Level | None:
        """The highest level of which all cases have passed, as those of the levels before it; None
        for none."""
        reached = None
        for level in LEVELS:
            of_level = [one for one in self.outcomes if one.level is level]
            if not of_level or any(one.problem is not None for one in of_level):
                break
            reached = level
        return reached

"""How long ended tasks are kept: the rules of the setting `task_retention_days`.

A rule is `billing=30` for a stream, `label.tier:batch=1` for a label and its value, or `90` for all
other tasks. `never` in place of the days keeps the tasks. Labels count before streams, and those
before the number for all others.
"""

import math
import re
from collections.abc import Iterator, Mapping

from msgspec import Struct

__all__ = ["KEEP", "Kept", "Rule", "kept_of"]

LABEL = "label."
NEVER = "never"
LABEL_KEY = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
"""What `types.LabelKey` allows."""
DAYS = (0.01, 36_500.0)
DAY_SECONDS = 86_400.0


class Rule(Struct, frozen=True):
    """A rule for some tasks.

    :param seconds: how long they are kept after their last run has ended; None for ever
    :param label: key and value of the label that they have
    :param app_name: their stream; None with a label or for all others
    """

    seconds: float | None
    label: tuple[str, str] | None = None
    app_name: str | None = None

    def fits(self, app_name: str, labels: Mapping[str, str]) -> bool:
        if self.label is not None:
            key, value = self.label
            return labels.get(key) == value
        return self.app_name is None or self.app_name == app_name


class Kept(Struct, frozen=True):
    """All rules; the first that fits a task decides.

    :param rules: those for labels, those for streams, that for all others
    """

    rules: tuple[Rule, ...] = ()

    def seconds(self, app_name: str, labels: Mapping[str, str]) -> float | None:
        """How long a task is kept after its last run has ended; None for ever."""
        fitting = (rule for rule in self.rules if rule.fits(app_name, labels))
        found = next(fitting, None)
        return None if found is None else found.seconds


KEEP = Kept()
"""Every task is kept."""


def kept_of(text: str) -> Kept:
    """Read the setting.

    :raises ValueError: it is wrong; the message says what would be right
    """
    rules = list(_rules(text))
    named = [(rule.label, rule.app_name) for rule in rules]
    for name in named:
        if named.count(name) > 1:
            raise ValueError(f"two of its rules are for {_shown(*name)}")
    return Kept(tuple(sorted(rules, key=_rank)))


def _rank(rule: Rule) -> int:
    if rule.label is not None:
        return 0
    return 1 if rule.app_name is not None else 2


def _shown(label: tuple[str, str] | None, app_name: str | None) -> str:
    if label is not None:
        return f"the label {label[0]}:{label[1]}"
    return "all other tasks" if app_name is None else f"the stream {app_name}"


def _rules(text: str) -> Iterator[Rule]:
    for part in filter(None, map(str.strip, text.split(","))):
        name, _, days = part.rpartition("=")
        seconds = _seconds(days.strip(), part)
        name = name.strip()
        if name.startswith(LABEL):
            key, colon, value = name.removeprefix(LABEL).partition(":")
            if not (colon and LABEL_KEY.fullmatch(key)):
                raise ValueError(f"a rule for a label is like label.tier:batch=1, not {part!r:.80}")
            yield Rule(seconds, label=(key, value))
        else:
            yield Rule(seconds, app_name=name or None)


def _seconds(days: str, part: str) -> float | None:
    if days == NEVER:
        return None
    try:
        number = float(days)
    except ValueError:
        number = math.nan
    if not DAYS[0] <= number <= DAYS[1]:
        raise ValueError(
            f"the days in {part!r:.80} must be a number from {DAYS[0]:g} to {DAYS[1]:g}, or {NEVER}"
        )
    return number * DAY_SECONDS

"""Pauses: which pause, if any, holds a task in its stream at a given time."""

import fnmatch
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import msgspec
from msgspec import Raw

from kaiju_tasks.cron import CronSchedule, cron_schedule
from kaiju_tasks.errors import KaijuError, TemplateError, reason_of
from kaiju_tasks.lifecycle.definition import BrokenDefinition, Definition
from kaiju_tasks.templates import Condition, compiled_condition, compiled_template
from kaiju_tasks.times import iso_moment
from kaiju_tasks.types import Pause

MAX_JOINED_WINDOWS = 100
"""After so many adjacent windows the rest is looked at when they end: each costs a search."""
_decode = msgspec.json.decode
_encode = msgspec.json.encode


class BrokenPause(Pause, kw_only=True):
    """What is left of a stored pause that cannot be read. It is never stored, and holds nothing.

    :param problem: why it cannot be read
    """

    problem: str


def is_over(pause: Pause, now: float) -> bool:
    """Whether a pause has ended for good.

    :param now: UNIX seconds
    """
    return pause.until is not None and pause.until <= now


OWNER = "owner:"
"""The ids of pauses that hold the tasks of a disabled principal begin with it."""


def owner_pause(owner: str, author: str | None, now: float) -> Pause:
    """The pause that holds the tasks of a principal while it is disabled."""
    return Pause(
        id=owner_pause_id(owner),
        owner=owner,
        reason=f"the principal {owner} is disabled",
        author=author,
        created=iso_moment(now),
    )


def owner_pause_id(owner: str) -> str:
    """The id of the pause that holds the tasks of a disabled principal."""
    return OWNER + owner


class Pauses:
    """All pauses at one revision.

    :param revision: increases with each change to the pauses
    """

    def __init__(self, pauses: Iterable[Pause] = (), revision: int = -1) -> None:
        self.revision = revision
        self._armed = {pause.id: _Armed(pause) for pause in pauses}
        self._of_all: list[_Armed] = []
        self._of_stream: dict[str, list[_Armed]] = {}
        for one in self._armed.values():
            app_name = one.pause.app_name
            if app_name is None:
                self._of_all.append(one)
            else:
                self._of_stream.setdefault(app_name, []).append(one)

    def __bool__(self) -> bool:
        return bool(self._armed)

    def __iter__(self) -> Iterator[Pause]:
        return iter([one.pause for one in self._armed.values()])

    def holding(self, definition: Definition, stage: int, now: float) -> Pause | None:
        """The pause that holds a task before a stage, if any. A task that cannot be read is never
        held: it is to fail.

        :param now: UNIX seconds
        """
        if isinstance(definition, BrokenDefinition):
            return None
        for one in chain(self._of_stream.get(definition.app_name, ()), self._of_all):
            if one.active(now) and one.holds(definition, stage):
                return one.pause
        return None

    def disabled(self, owner: str | None) -> bool:
        """Whether the owner of tasks is a disabled principal."""
        return owner is not None and owner_pause_id(owner) in self._armed

    def problems(self) -> dict[str, str]:
        """Why pauses hold nothing, by id: those that cannot be applied, for example because their
        time zone is gone."""
        armed = self._armed.items()
        return {pause_id: one.problem for pause_id, one in armed if one.problem is not None}

    def active(self, pause_id: str, now: float) -> bool:
        """Whether this pause exists and is active."""
        one = self._armed.get(pause_id)
        return one is not None and one.active(now)

    def next_change(self, now: float) -> float | None:
        """The next time after `now` at which a pause becomes active or inactive."""
        moments = [one.next_change(now) for one in self._armed.values()]
        return min((moment for moment in moments if moment is not None), default=None)


class _Armed:
    """A pause with its compiled patterns, and the time span for which `active` is known.

    :ivar problem: why it cannot be applied, and so is never active; None if it can be
    """

    def __init__(self, pause: Pause) -> None:
        self.pause = pause
        self.problem = pause.problem if isinstance(pause, BrokenPause) else None
        self._method = None if pause.method is None else re.compile(fnmatch.translate(pause.method))
        self._condition: Condition | None = None
        self._schedule: CronSchedule | None = None
        self._known = (0.0, 0.0, False)
        if self.problem is None:
            self._compile()

    def _compile(self) -> None:
        pause = self.pause
        try:
            if pause.condition is not None:
                self._condition = compiled_condition(_encode(pause.condition))
            if pause.cron is not None:
                self._schedule = cron_schedule(pause.cron, pause.timezone or "UTC")
        except KaijuError as error:  # it was checked when it was added: what it needs is gone
            self.problem = reason_of(error)

    def active(self, now: float) -> bool:
        since, till, active = self._known
        if not since <= now < till:
            since, till, active = self._known = (now, *self._look(now))
        return active

    def next_change(self, now: float) -> float | None:
        self.active(now)
        till = self._known[1]
        return None if till == float("inf") else till

    def _look(self, now: float) -> tuple[float, bool]:
        """Whether the pause is active, and until when this will not change."""
        pause = self.pause
        end = float("inf") if pause.until is None else pause.until
        if self.problem is not None or is_over(pause, now):
            return float("inf"), False
        if self._schedule is None:
            return end, True
        opens, closes = self._window(self._schedule, now)
        return (min(closes, end), True) if opens <= now else (min(opens, end), False)

    def _window(self, schedule: CronSchedule, now: float) -> tuple[float, float]:
        """The current window, or else the next one; adjacent windows are joined."""
        seconds = self.pause.duration or 0
        opens = fire = schedule.next_fire(now - seconds)
        if opens is None or fire is None:
            return float("inf"), float("inf")
        closes = fire + seconds
        for _ in range(MAX_JOINED_WINDOWS):
            fire = schedule.next_fire(fire)
            if fire is None or fire > closes:
                break
            closes = fire + seconds
        return opens, closes

    def holds(self, definition: Definition, stage: int) -> bool:
        pause, command = self.pause, definition.commands[stage]
        return (
            pause.app_name in (None, definition.app_name)
            and pause.owner in (None, definition.user_id)
            and pause.group in (None, definition.group)
            and pause.group_id in (None, definition.group_id)
            and (self._method is None or self._method.match(command.method) is not None)
            and (self._condition is None or self._meets(definition, command.params))
        )

    def _meets(self, definition: Definition, params: Raw) -> bool:
        assert self._condition is not None
        try:
            data = {"kws": _decode(definition.kws), "params": _literal(params)}
            return self._condition.holds(data)
        except TemplateError:  # the task lacks a value that the condition reads
            return False


def _literal(params: Raw) -> dict[str, Any]:
    """The parameters without templates."""
    given = _decode(params)
    literal: dict[str, Any] = {}
    for name, value in given.items():
        template = compiled_template(_encode(value))
        if not template.refs:
            literal[name] = template.fill({})
    return literal


NO_PAUSES = Pauses()

"""Keeps the event filters and the awaited tasks of other managers until they expire."""

from collections.abc import Iterable, Sequence

from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.manager.events.event_matcher import Matcher
from kaiju_tasks.store.base import Condition
from kaiju_tasks.types import TaskEvent

Conditions = Sequence[Condition]


class Interest:
    """The filters and the awaited tasks of other managers. Each has an expiry time.

    All times are seconds of the event loop's clock.
    """

    def __init__(self) -> None:
        self._matchers: dict[str, tuple[float, list[Matcher]]] = {}
        self._ids: dict[str, float] = {}

    def __bool__(self) -> bool:
        return bool(self._matchers or self._ids)

    def listen(self, manager_id: str, filters: Iterable[Conditions], until: float) -> None:
        """Replace the filters of a manager, any of which must match. An empty list removes it."""
        matchers = [_matcher(conditions) for conditions in filters]
        if matchers:
            self._matchers[manager_id] = (until, matchers)
        else:
            self._matchers.pop(manager_id, None)

    def wait(self, task_ids: Iterable[str], until: float) -> None:
        """Add tasks that another manager waits for."""
        self._ids.update(dict.fromkeys(task_ids, until))

    def forget(self, now: float) -> None:
        """Remove filters and tasks that have expired."""
        self._matchers = {id: one for id, one in self._matchers.items() if one[0] > now}
        self._ids = {id: until for id, until in self._ids.items() if until > now}

    def of_task(self, task_id: str) -> bool:
        if task_id in self._ids:
            return True
        return bool(self._matchers) and any(m.of_task(task_id) for m in self._all())

    def matches(self, event: TaskEvent) -> bool:
        return event.id in self._ids or any(m.matches(event) for m in self._all())

    def _all(self) -> Iterable[Matcher]:
        return (matcher for _, matchers in self._matchers.values() for matcher in matchers)


def _matcher(conditions: Conditions) -> Matcher:
    try:
        return Matcher(conditions)
    except (InvalidParams, LookupError, TypeError):
        # A filter of a later version: send all events, which the other manager filters itself.
        return Matcher([])

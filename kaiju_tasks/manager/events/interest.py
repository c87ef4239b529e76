"""What other managers have said they want to be told."""

from collections.abc import Iterable, Sequence

from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.manager.events.event_matcher import Matcher
from kaiju_tasks.store.base import Condition
from kaiju_tasks.types import TaskEvent

Conditions = Sequence[Condition]


class Interest:
    """Conditions and tasks that other managers asked for, each until a moment."""

    def __init__(self) -> None:
        self._matchers: dict[str, tuple[float, list[Matcher]]] = {}
        self._ids: dict[str, float] = {}

    def __bool__(self) -> bool:
        return bool(self._matchers or self._ids)

    def listen(self, manager_id: str, filters: Iterable[Conditions], until: float) -> None:
        """A manager wants what any of its filters lets through; without filters nothing."""
        matchers = [_matcher(conditions) for conditions in filters]
        if matchers:
            self._matchers[manager_id] = (until, matchers)
        else:
            self._matchers.pop(manager_id, None)

    def wait(self, task_ids: Iterable[str], until: float) -> None:
        """Some manager waits for tasks."""
        self._ids.update(dict.fromkeys(task_ids, until))

    def forget(self, now: float) -> None:
        """Forget what nobody has asked for again in time."""
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
        return Matcher([])  # a later version's; it will choose for itself among all events

"""Events: committed changes, told to whoever listens. Hints; rows are the truth."""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import msgspec

from kaiju_tasks.manager.events.event_matcher import Matcher
from kaiju_tasks.manager.events.public import events_of
from kaiju_tasks.manager.writing.changes import Change
from kaiju_tasks.store.base import Condition
from kaiju_tasks.types import TaskEvent

log = logging.getLogger(__name__)

_encode = msgspec.json.Encoder().encode


class Listener(Protocol):
    """Whoever is given events. No method waits."""

    def of_task(self, task_id: str) -> bool:
        """Whether events of a task may be wanted; asked before they are made."""
        ...

    def matches(self, event: TaskEvent) -> bool: ...

    def take(self, event: "EncodedEvent") -> None: ...

    def lost(self, reason: str) -> None:
        """Some events did not come through."""
        ...


class EncodedEvent:
    """An event, encoded once for all who are given it."""

    __slots__ = ("_head", "event")

    def __init__(self, event: TaskEvent) -> None:
        self.event = event
        self._head = b""

    def notification(self, subscription: str) -> bytes:
        """The event as a JSON-RPC notification for a subscription."""
        if not self._head:
            self._head = b'{"jsonrpc":"2.0","method":%b,"params":%b' % (
                _encode(self.event.event),
                _encode(self.event)[:-1],
            )
        return b'%b,"subscription":%b}}' % (self._head, _encode(subscription))


class Subscription:
    """A listener in this process or behind a socket of this manager.

    :param conditions: all must hold; none: every event
    :param take: is given each event
    :param lost: is told, in words, when events did not come through
    """

    def __init__(
        self,
        conditions: Sequence[Condition],
        take: Callable[[EncodedEvent], None],
        lost: Callable[[str], None] = lambda reason: None,
    ) -> None:
        self.conditions = list(conditions)
        matcher = Matcher(conditions)
        self.of_task, self.matches = matcher.of_task, matcher.matches
        self.take = take
        self.lost = lost


class EventHub:
    """Hands events to listeners. Without any it costs nothing.

    :param changed: called when subscriptions come or go
    """

    def __init__(self, manager_id: str, changed: Callable[[], None] = lambda: None) -> None:
        self._manager_id = manager_id
        self._changed = changed
        self._listeners: dict[Listener, None] = {}
        self.subscriptions: dict[Subscription, None] = {}

    @property
    def listened(self) -> bool:
        """Whether anybody listens."""
        return bool(self._listeners)

    def subscribe(self, subscription: Subscription) -> None:
        """Begin to give events to a subscription, those of other managers too."""
        self.add(subscription)
        self.subscriptions[subscription] = None
        self._changed()

    def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription; one that has ended is left alone."""
        if subscription in self.subscriptions:
            self.remove(subscription)
            del self.subscriptions[subscription]
            self._changed()

    def add(self, listener: Listener) -> None:
        """Begin to give events to a listener, of which other managers are not told."""
        self._listeners[listener] = None

    def remove(self, listener: Listener) -> None:
        self._listeners.pop(listener, None)

    def publish(self, changes: Iterable[Change]) -> None:
        """Tell of what this manager has committed."""
        if not self._listeners:
            return
        for change in changes:
            if not change.step.events:
                continue
            wanted = self._wanting(change.step.row.id)
            if wanted:
                for event in events_of(change, self._manager_id):
                    _give(event, wanted)

    def deliver(self, events: Iterable[TaskEvent]) -> None:
        """Tell of events, whoever wrote them."""
        for event in events:
            _give(event, self._wanting(event.id))

    def lost(self, reason: str) -> None:
        """Tell the subscriptions that events did not come through."""
        for subscription in list(self.subscriptions):
            subscription.lost(reason)

    def _wanting(self, task_id: str) -> list[Listener]:
        return [listener for listener in self._listeners if listener.of_task(task_id)]


def _give(event: TaskEvent, listeners: list[Listener]) -> None:
    encoded: Any = None
    for listener in listeners:
        if listener.matches(event):
            encoded = encoded or EncodedEvent(event)
            listener.take(encoded)

"""Delivers events to the listeners of this manager.

Events are hints. The rows in the database are authoritative.
"""

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
    """A receiver of events. No method blocks."""

    def of_task(self, task_id: str) -> bool:
        """Whether events of a task may match. It is called before the events are built."""
        ...

    def matches(self, event: TaskEvent) -> bool: ...

    def take(self, event: "EncodedEvent") -> None: ...

    def lost(self, reason: str) -> None:
        """Report that some events were not delivered."""
        ...


class EncodedEvent:
    """An event that is encoded once for all its receivers."""

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

    :param conditions: all of them must hold; an empty list matches every event
    :param take: called with each matching event
    :param lost: called with a reason, as text, when events were not delivered
    :raises InvalidParams: a condition is not valid
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
    """Delivers events to listeners. Without listeners it costs nothing.

    :param changed: called when a subscription is added or removed
    """

    def __init__(self, manager_id: str, changed: Callable[[], None] = lambda: None) -> None:
        self._manager_id = manager_id
        self._changed = changed
        self._listeners: dict[Listener, None] = {}
        self.subscriptions: dict[Subscription, None] = {}

    @property
    def listened(self) -> bool:
        """Whether there is a listener."""
        return bool(self._listeners)

    def subscribe(self, subscription: Subscription) -> None:
        """Deliver events to a subscription, including events of other managers."""
        self.add(subscription)
        self.subscriptions[subscription] = None
        self._changed()

    def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription, if it has not ended already."""
        if subscription in self.subscriptions:
            self.remove(subscription)
            del self.subscriptions[subscription]
            self._changed()

    def add(self, listener: Listener) -> None:
        """Deliver the events of this manager to a listener."""
        self._listeners[listener] = None

    def remove(self, listener: Listener) -> None:
        self._listeners.pop(listener, None)

    def publish(self, changes: Iterable[Change]) -> None:
        """Build and deliver the events of changes that this manager has committed."""
        if not self._listeners:
            return
        for change in changes:
            if not change.step.events:
                continue
            listeners = self._listeners_of(change.step.row.id)
            if listeners:
                for event in events_of(change, self._manager_id):
                    _deliver(event, listeners)

    def deliver(self, events: Iterable[TaskEvent]) -> None:
        """Deliver events of any manager."""
        for event in events:
            _deliver(event, self._listeners_of(event.id))

    def lost(self, reason: str) -> None:
        """Report to the subscriptions that events were not delivered."""
        for subscription in list(self.subscriptions):
            subscription.lost(reason)

    def _listeners_of(self, task_id: str) -> list[Listener]:
        return [listener for listener in self._listeners if listener.of_task(task_id)]


def _deliver(event: TaskEvent, listeners: list[Listener]) -> None:
    encoded: Any = None
    for listener in listeners:
        if listener.matches(event):
            encoded = encoded or EncodedEvent(event)
            listener.take(encoded)

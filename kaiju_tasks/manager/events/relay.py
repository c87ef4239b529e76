"""Exchanges events with other managers: each sends its filters and gets the matching events.

A manager sends no message while it knows no other manager, and no event that no other manager has
asked for. Messages may be lost. A manager therefore repeats its filters while it needs them, and
filters that are not repeated expire. Events are hints.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import astuple

from kaiju_tasks.manager.events.hub import EncodedEvent, EventHub
from kaiju_tasks.manager.events.interest import Interest
from kaiju_tasks.manager.events.waiters import Waiters
from kaiju_tasks.store.base import MESSAGE_BYTES, Condition, Store, StoreError
from kaiju_tasks.types import TaskEvent

log = logging.getLogger(__name__)

KEPT_INTERVALS = 3
WAITING_BYTES_MAX = 50 * MESSAGE_BYTES
"""Bytes of events that may wait to be sent. Further events are dropped and only counted."""
LOST_SECONDS = 1.0
"""The minimum time between two messages that report dropped events."""
ROOM_BYTES = MESSAGE_BYTES - 300
"""Bytes for the items of a message, without its tag and its manager's id."""
ALL: list[list[Condition]] = [[]]

_encode = msgspec.json.Encoder().encode


class _Event(TaskEvent, array_like=True):
    """An event encoded without the names of its fields."""


class Message(Struct, tag_field="say"):
    """A message from one manager to all others.

    The tags and fields are a protocol between managers of different versions: do not rename them.
    """

    manager_id: str


class Hello(Message, tag="hello"):
    """Asks the other managers for their filters, after a start or a lost connection."""


class Subscribe(Message, tag="want"):
    """Asks for events that match any of these lists of conditions, for this many seconds."""

    filters: list[list[Condition]]
    seconds: float


class WatchTasks(Message, tag="wait"):
    """Asks for the events of these tasks, for this many seconds."""

    ids: list[str]
    seconds: float


class Deliver(Message, tag="tell"):
    """Carries events that another manager has asked for."""

    events: list[_Event]


class Dropped(Message, tag="lost"):
    """Reports how many events were dropped instead of sent."""

    count: int


_decode = msgspec.json.Decoder(Hello | Subscribe | WatchTasks | Deliver | Dropped).decode


class Relay:
    """Exchanges events with the other managers. It listens to this manager's hub for them.

    :param spawn: runs a coroutine in the background
    :param interval: seconds between two calls of `renew`
    """

    def __init__(
        self,
        store: Store,
        manager_id: str,
        hub: EventHub,
        waiters: Waiters,
        spawn: Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"],
        interval: float,
    ) -> None:
        self._store = store
        self._manager_id = manager_id
        self._hub = hub
        self._waiters = waiters
        self._spawn = spawn
        self._interval = interval
        self._kept_seconds = KEPT_INTERVALS * interval
        self._missed_at = float("-inf")
        self._interest = Interest()
        self._known: set[str] = set()
        self._queued: list[bytes] = []
        self._filters_due = False
        self._filters_sent: list[list[Condition]] | None = None
        self._ids: set[str] = set()
        self._events: list[bytes] = []
        self._events_bytes = 0
        self._dropped = 0
        self._dropped_sent_at = float("-inf")
        self._sending: asyncio.Task[None] | None = None

    @property
    def alone(self) -> bool:
        """Whether no message of another manager has arrived."""
        return not self._known

    # -- messages of this manager ----------------------------------------------------------

    def greet(self) -> None:
        """Ask the other managers for their filters."""
        self._queued.append(_encode(Hello(self._manager_id)))
        self._send_soon()

    def want(self) -> None:
        """Send the filters: the subscriptions of this manager have changed."""
        if self._known:
            self._filters_due = True
            self._send_soon()

    def wait(self, task_id: str) -> None:
        """Ask for the events of a task that a caller of this manager waits for."""
        if self._known:
            self._ids.add(task_id)
            self._send_soon()

    def renew(self) -> None:
        """Repeat this manager's filters, and remove the expired filters of others."""
        if self._interest:
            self._interest.forget(asyncio.get_running_loop().time())
            self._listen()
        if self._known and (self._hub.subscriptions or self._waiters.task_ids):
            self._repeat()
        if self._dropped:
            self._send_soon()

    def _repeat(self) -> None:
        """Send the filters and the awaited tasks even if they have not changed."""
        self._filters_sent, self._filters_due = None, True
        self._ids.update(self._waiters.task_ids)
        self._send_soon()

    # -- messages of other managers ----------------------------------------------------------

    def missed(self) -> None:
        """Recover after messages of other managers may have been lost."""
        now = asyncio.get_running_loop().time()
        if now - self._missed_at >= self._interval:
            self._missed_at = now
            self.greet()
            self._repeat()
            self._hub.lost("events of other managers may have been lost")

    def received(self, message: bytes) -> None:
        """Handle a message of another manager."""
        try:
            decoded = _decode(message)
        except msgspec.DecodeError as exc:
            log.debug("ignored an unknown message, possibly of a later version: %s", exc)
            return
        self._known.add(decoded.manager_id)
        now = asyncio.get_running_loop().time()
        match decoded:
            case Hello():  # answer even without filters: the sender learns that it is not alone
                self._repeat()
            case Subscribe():
                until = now + decoded.seconds
                self._interest.listen(decoded.manager_id, decoded.filters, until)
                self._listen()
            case WatchTasks():
                self._interest.wait(decoded.ids, now + decoded.seconds)
                self._listen()
            case Deliver():
                events = [TaskEvent(*astuple(event)) for event in decoded.events]
                self._hub.deliver(events)
                self._waiters.changed(event.id for event in events)
            case Dropped():
                self._hub.lost(f"{decoded.count} events were dropped between managers: too many")

    def _listen(self) -> None:
        if self._interest:
            self._hub.add(self)
        else:
            self._hub.remove(self)

    # -- the listener of the hub ---------------------------------------------------------------

    def of_task(self, task_id: str) -> bool:
        return self._interest.of_task(task_id)

    def matches(self, event: TaskEvent) -> bool:
        return event.manager_id == self._manager_id and self._interest.matches(event)

    def take(self, encoded: EncodedEvent) -> None:
        event = _encode(_Event(*astuple(encoded.event)))
        if len(event) > ROOM_BYTES or self._events_bytes + len(event) > WAITING_BYTES_MAX:
            self._dropped += 1
        else:
            self._events.append(event)
            self._events_bytes += len(event)
        self._send_soon()

    def lost(self, reason: str) -> None:
        """Do nothing: the other managers notice lost messages themselves."""

    # -- sending ------------------------------------------------------------------------------

    def _send_soon(self) -> None:
        if self._sending is None or self._sending.done():
            self._sending = self._spawn(self._send())

    async def _send(self) -> None:
        """Send until nothing is queued. Items that arrive during a send go with the next."""
        while messages := self._messages():
            try:
                await self._store.send(messages)
            except StoreError as exc:
                log.warning("publishing events to other managers failed: %s", exc)

    def _messages(self) -> list[bytes]:
        messages, self._queued = self._queued, []
        if self._filters_due:
            self._filters_due = False
            subscribe = self._subscribe()
            if subscribe.filters != self._filters_sent:
                self._filters_sent = subscribe.filters
                messages.append(_encode(subscribe))
        ids, self._ids = self._ids, set()
        events, self._events, self._events_bytes = self._events, [], 0
        encoded_ids = map(_encode, sorted(ids))
        messages += [self._list(b"wait", b"ids", part) for part in _parts(encoded_ids)]
        messages += [self._list(b"tell", b"events", part) for part in _parts(events)]
        return messages + self._dropped_messages()

    def _dropped_messages(self) -> list[bytes]:
        now = asyncio.get_running_loop().time()
        if not self._dropped or now - self._dropped_sent_at < LOST_SECONDS:
            return []
        count, self._dropped, self._dropped_sent_at = self._dropped, 0, now
        return [_encode(Dropped(self._manager_id, count))]

    def _subscribe(self) -> Subscribe:
        conditions = {_encode(s.conditions): s.conditions for s in self._hub.subscriptions}
        filters = list(conditions.values())
        too_long = sum(map(len, conditions)) + len(conditions) > ROOM_BYTES
        if [] in filters or too_long:
            filters = ALL
        return Subscribe(self._manager_id, filters, self._kept_seconds)

    def _list(self, tag: bytes, field: bytes, items: bytes) -> bytes:
        """A message with encoded items."""
        return b'{"say":"%b","manager_id":%b,"seconds":%b,"%b":[%b]}' % (
            tag,
            _encode(self._manager_id),
            _encode(self._kept_seconds),
            field,
            items,
        )


def _parts(items: Iterable[bytes]) -> Iterator[bytes]:
    """Join items with commas, in parts that fit into a message."""
    part: list[bytes] = []
    size = 0
    for item in items:
        if part and size + len(item) + 1 > ROOM_BYTES:
            yield b",".join(part)
            part, size = [], 0
        part.append(item)
        size += len(item) + 1
    if part:
        yield b",".join(part)

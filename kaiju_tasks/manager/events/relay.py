"""Events between managers: each says what it wants to be told, and tells what others want.

Nothing is said while no other manager is known, and no event is sent that nobody wants. Words may
be lost: what is wanted is said again while it is wanted, and forgotten when it is not; events are
hints.
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
"""Events that may wait to be sent; of those beyond only the number is told."""
LOST_SECONDS = 1.0
ROOM_BYTES = MESSAGE_BYTES - 300
"""For the items of a message, beside what names it and its manager."""
ALL: list[list[Condition]] = [[]]

_encode = msgspec.json.Encoder().encode


class _Event(TaskEvent, array_like=True):
    """An event without the names of its fields."""


class Word(Struct, tag_field="say"):
    """What one manager says to all others."""

    manager_id: str


class Hello(Word, tag="hello"):
    """I have come, or have missed something: what do you want to be told?"""


class Want(Word, tag="want"):
    """Tell me, for some seconds, of events that any of these lists of conditions lets through."""

    filters: list[list[Condition]]
    seconds: float


class Wait(Word, tag="wait"):
    """Tell me, for some seconds, of these tasks."""

    ids: list[str]
    seconds: float


class Tell(Word, tag="tell"):
    events: list[_Event]


class Lost(Word, tag="lost"):
    """So many events were too many to be sent."""

    count: int


_decode = msgspec.json.Decoder(Hello | Want | Wait | Tell | Lost).decode


class Relay:
    """This manager's part in the connection; a listener of its own hub, on behalf of the others.

    :param spawn: runs a coroutine beside
    :param interval: seconds between two `renew`
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
        self._words: list[bytes] = []
        self._wanted = False
        self._said: list[list[Condition]] | None = None
        self._ids: set[str] = set()
        self._events: list[bytes] = []
        self._events_bytes = 0
        self._lost = 0
        self._lost_said_at = float("-inf")
        self._sending: asyncio.Task[None] | None = None

    @property
    def alone(self) -> bool:
        """No other manager has been heard of."""
        return not self._known

    # -- what this manager says ------------------------------------------------------------

    def greet(self) -> None:
        """Ask others what they want; those who hear it answer."""
        self._words.append(_encode(Hello(self._manager_id)))
        self._send_soon()

    def want(self) -> None:
        """The subscriptions here are others than before."""
        if self._known:
            self._wanted = True
            self._send_soon()

    def wait(self, task_id: str) -> None:
        """Somebody here begins to wait for a task."""
        if self._known:
            self._ids.add(task_id)
            self._send_soon()

    def renew(self) -> None:
        """Say again what is wanted here, and forget what others no longer want."""
        if self._interest:
            self._interest.forget(asyncio.get_running_loop().time())
            self._listen()
        if self._known and (self._hub.subscriptions or self._waiters.task_ids):
            self._say_again()
        if self._lost:
            self._send_soon()

    def _say_again(self) -> None:
        """As if nothing had been said before."""
        self._said, self._wanted = None, True
        self._ids.update(self._waiters.task_ids)
        self._send_soon()

    # -- what it hears ---------------------------------------------------------------------

    def missed(self) -> None:
        """Words of others may have been missed."""
        now = asyncio.get_running_loop().time()
        if now - self._missed_at >= self._interval:
            self._missed_at = now
            self.greet()
            self._say_again()
            self._hub.lost("events of other managers may have been missed")

    def received(self, message: bytes) -> None:
        """Others have spoken."""
        try:
            word = _decode(message)
        except msgspec.DecodeError as exc:
            log.debug("a word that is not understood, perhaps of a later version: %s", exc)
            return
        self._known.add(word.manager_id)
        until = asyncio.get_running_loop().time()
        match word:
            case Hello():  # what is wanted, be it nothing: so the other knows it is not alone
                self._say_again()
            case Want():
                self._interest.listen(word.manager_id, word.filters, until + word.seconds)
                self._listen()
            case Wait():
                self._interest.wait(word.ids, until + word.seconds)
                self._listen()
            case Tell():
                events = [TaskEvent(*astuple(event)) for event in word.events]
                self._hub.deliver(events)
                self._waiters.changed(event.id for event in events)
            case Lost():
                self._hub.lost(f"{word.count} events were too many to be sent between managers")

    def _listen(self) -> None:
        if self._interest:
            self._hub.add(self)
        else:
            self._hub.remove(self)

    # -- as a listener of the hub ------------------------------------------------------------

    def of_task(self, task_id: str) -> bool:
        return self._interest.of_task(task_id)

    def matches(self, event: TaskEvent) -> bool:
        return event.manager_id == self._manager_id and self._interest.matches(event)

    def take(self, encoded: EncodedEvent) -> None:
        event = _encode(_Event(*astuple(encoded.event)))
        if len(event) > ROOM_BYTES or self._events_bytes + len(event) > WAITING_BYTES_MAX:
            self._lost += 1
        else:
            self._events.append(event)
            self._events_bytes += len(event)
        self._send_soon()

    def lost(self, reason: str) -> None:
        """Others hear of it by themselves."""

    # -- sending ------------------------------------------------------------------------------

    def _send_soon(self) -> None:
        if self._sending is None or self._sending.done():
            self._sending = self._spawn(self._send())

    async def _send(self) -> None:
        """What gathers while one message is sent goes with the next."""
        while messages := self._messages():
            try:
                await self._store.send(messages)
            except StoreError as exc:
                log.warning("events were not published to other managers: %s", exc)

    def _messages(self) -> list[bytes]:
        words, self._words = self._words, []
        if self._wanted:
            self._wanted = False
            want = self._want()
            if want.filters != self._said:
                self._said = want.filters
                words.append(_encode(want))
        ids, self._ids = self._ids, set()
        events, self._events, self._events_bytes = self._events, [], 0
        words += [self._list(b"wait", b"ids", part) for part in _parts(map(_encode, sorted(ids)))]
        words += [self._list(b"tell", b"events", part) for part in _parts(events)]
        return words + self._lost_words()

    def _lost_words(self) -> list[bytes]:
        """How many events were lost, said once a second at most."""
        now = asyncio.get_running_loop().time()
        if not self._lost or now - self._lost_said_at < LOST_SECONDS:
            return []
        lost, self._lost, self._lost_said_at = self._lost, 0, now
        return [_encode(Lost(self._manager_id, lost))]

    def _want(self) -> Want:
        conditions = {_encode(s.conditions): s.conditions for s in self._hub.subscriptions}
        filters = list(conditions.values())
        too_long = sum(map(len, conditions)) + len(conditions) > ROOM_BYTES
        if [] in filters or too_long:
            filters = ALL
        return Want(self._manager_id, filters, self._kept_seconds)

    def _list(self, say: bytes, field: bytes, items: bytes) -> bytes:
        """A word with encoded items."""
        return b'{"say":"%b","manager_id":%b,"seconds":%b,"%b":[%b]}' % (
            say,
            _encode(self._manager_id),
            _encode(self._kept_seconds),
            field,
            items,
        )


def _parts(items: Iterable[bytes]) -> Iterator[bytes]:
    """Items with commas between, in parts that fit a message."""
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

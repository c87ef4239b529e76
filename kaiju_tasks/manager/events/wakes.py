"""Wake-ups between managers: hints that there is work, an executor to look at, or a new pause."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, NamedTuple

from kaiju_tasks.store.base import Store, StoreError

log = logging.getLogger(__name__)

STREAM, EXECUTOR, PAUSES = "q:", "r:", "p"


class Woken(NamedTuple):
    """What another manager's wake-up is about.

    :param streams: may have tasks that can be acquired
    :param executors: their leases may have changed
    :param pauses: they may have changed
    """

    streams: list[str]
    executors: list[str]
    pauses: bool


class Wakes:
    """Sends wake-ups. Those that gather while one is sent go with the next.

    :param spawn: runs a coroutine beside, for as long as the manager runs
    """

    def __init__(
        self, store: Store, spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
    ) -> None:
        self._store = store
        self._spawn = spawn
        self._topics: set[str] = set()
        self._sending: asyncio.Task[None] | None = None

    def stream(self, app_name: str) -> None:
        """A stream has tasks that no executor of this manager can take."""
        self._send(STREAM + app_name)

    def executor(self, executor_id: str) -> None:
        """Leases of an executor that is not connected here have changed."""
        self._send(EXECUTOR + executor_id)

    def pauses(self) -> None:
        """The pauses have changed."""
        self._send(PAUSES)

    def _send(self, topic: str) -> None:
        self._topics.add(topic)
        if self._sending is None or self._sending.done():
            self._sending = self._spawn(self._send_all())

    async def _send_all(self) -> None:
        while self._topics:
            topics, self._topics = self._topics, set()
            try:
                await self._store.wake(topics)
            except StoreError as exc:
                log.warning("wake-up failed, other managers will poll instead: %s", exc)


def read_wake(topics: Iterable[str]) -> Woken:
    """What the topics of a wake-up say. Topics of a later version are ignored."""
    streams, executors, pauses = [], [], False
    for topic in topics:
        if topic == PAUSES:
            pauses = True
        elif topic.startswith(STREAM):
            streams.append(topic.removeprefix(STREAM))
        elif topic.startswith(EXECUTOR):
            executors.append(topic.removeprefix(EXECUTOR))
    return Woken(streams, executors, pauses)

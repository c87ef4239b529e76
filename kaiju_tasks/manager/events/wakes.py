"""Wakes other managers when a stream, an executor, the pauses or the tokens have changed, or when
tasks wait for an executor that has their method."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, NamedTuple

from kaiju_tasks.store.base import Store, StoreError

log = logging.getLogger(__name__)

STREAM, EXECUTOR, PAUSES, TOKENS, GATES = "q:", "r:", "p", "t", "g"


class Woken(NamedTuple):
    """The content of a wake-up.

    :param streams: streams that may have ready tasks
    :param executors: executors whose leases may have changed
    :param pauses: whether the pauses may have changed
    :param tokens: whether principals or tokens may have changed
    :param gates: whether tasks may have come to gates of methods
    """

    streams: list[str]
    executors: list[str]
    pauses: bool
    tokens: bool
    gates: bool


class Wakes:
    """Sends wake-ups. Topics that arrive during a send are sent together by the next one.

    :param spawn: runs a coroutine in the background while the manager runs
    :param alone: whether no other manager is known. Then nothing is sent for streams, because a
        message for each new task would cost as much as the task. A manager that starts greets all
        others, and looks for ready tasks itself.
    """

    def __init__(
        self,
        store: Store,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        alone: Callable[[], bool],
    ) -> None:
        self._store = store
        self._spawn = spawn
        self._alone = alone
        self._topics: set[str] = set()
        self._sending: asyncio.Task[None] | None = None

    def stream(self, app_name: str) -> None:
        """Report that a stream has tasks that no executor of this manager can take."""
        if not self._alone():
            self._send(STREAM + app_name)

    def gates(self) -> None:
        """Report that a task waits for an executor with its method, and none of this manager is
        free for it."""
        if not self._alone():
            self._send(GATES)

    def executor(self, executor_id: str) -> None:
        """Report that leases of an executor of another manager have changed."""
        self._send(EXECUTOR + executor_id)

    def pauses(self) -> None:
        """Report that the pauses have changed."""
        self._send(PAUSES)

    def tokens(self) -> None:
        """Report that principals or tokens have changed."""
        self._send(TOKENS)

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
    """Parse the topics of a wake-up. Unknown topics, of a later version, are ignored."""
    streams, executors, pauses, tokens, gates = [], [], False, False, False
    for topic in topics:
        if topic == PAUSES:
            pauses = True
        elif topic == TOKENS:
            tokens = True
        elif topic == GATES:
            gates = True
        elif topic.startswith(STREAM):
            streams.append(topic.removeprefix(STREAM))
        elif topic.startswith(EXECUTOR):
            executors.append(topic.removeprefix(EXECUTOR))
    return Woken(streams, executors, pauses, tokens, gates)

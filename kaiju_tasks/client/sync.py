"""The client for code without an event loop: it runs the asynchronous client in a thread."""

import asyncio
import os
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import CancelledError
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

from kaiju_tasks.client.client import Client
from kaiju_tasks.client.events import Events
from kaiju_tasks.client.outage import RETRY_SECONDS
from kaiju_tasks.errors import Unavailable

if TYPE_CHECKING:
    from kaiju_tasks.client.signatures import SyncClientMethods
else:
    SyncClientMethods = object

__all__ = ["SyncClient", "SyncEvents"]

T = TypeVar("T")
Ask = Callable[[Client], Coroutine[Any, Any, T]]


class SyncClient(SyncClientMethods):
    """`Client` for code without an event loop: the same methods, without `await`.

    Its calls run in a separate thread, so that it also works where an event loop is running, for
    example in Jupyter. Threads can share a client. After a fork, the child process opens its own
    connections.

    :param url: as in `Client`
    :param token: as in `Client`
    :param retry_seconds: as in `Client`
    """

    def __init__(
        self, url: str, token: str | None = None, *, retry_seconds: float = RETRY_SECONDS
    ) -> None:
        self._make = partial(Client, url, token, retry_seconds=retry_seconds)
        self._make()  # invalid arguments raise here
        self._thread: _LoopThread | None = None

    if not TYPE_CHECKING:  # type checkers know the methods by their signatures

        def __getattr__(self, prefix: str) -> "_SyncMethods":
            if prefix.startswith("_"):
                raise AttributeError(prefix)
            return _SyncMethods(self, prefix)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections and end the thread. A later call starts them again."""
        thread = self._thread
        if thread is not None:
            thread.stop()

    def call(self, method: str, /, **params: Any) -> Any:
        """Call a method; see `Client.call`."""
        return self._run(lambda client: client.call(method, **params))

    def batch(self, calls: Iterable[tuple[str, Mapping[str, Any]]]) -> list[Any]:
        """Make several calls in one request; see `Client.batch`."""
        listed = list(calls)
        return self._run(lambda client: client.batch(listed))

    def events(self, conditions: Mapping[str, Any] | None = None) -> "SyncEvents":
        """Subscribe to events: `for event in client.events({...})`; see `Client.events`."""
        thread = self._started()
        return SyncEvents(self, thread, thread.client.events(conditions))

    def _run(self, ask: Ask[T]) -> T:
        thread = self._started()
        return thread.run(ask(thread.client))

    def _started(self) -> "_LoopThread":
        with _starting:
            thread = self._thread
            if thread is None or not thread.usable:
                if thread is not None and thread.pid != os.getpid():
                    _inherited.append(thread)
                self._thread = thread = _LoopThread(self._make())
                weakref.finalize(self, thread.stop)
            return thread


class SyncEvents:
    """`Events` for `for` loops and `with` blocks."""

    def __init__(self, client: SyncClient, thread: "_LoopThread", events: Events) -> None:
        self._client = client  # a client that is collected ends its thread
        self._thread = thread
        self._events = events

    def __enter__(self) -> Self:
        self._thread.run(self._events.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> dict[str, Any]:
        return self._thread.run(self._events.__anext__())

    def close(self) -> None:
        """End the subscription."""
        if self._thread.usable:
            self._thread.run(self._events.close())


class _SyncMethods:
    def __init__(self, client: SyncClient, prefix: str) -> None:
        self._client = client
        self._prefix = prefix

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        if verb.startswith("_"):
            raise AttributeError(verb)
        return partial(self._call, verb)

    def _call(self, verb: str, /, *values: Any, **params: Any) -> Any:
        def ask(client: Client) -> Coroutine[Any, Any, Any]:
            made: Coroutine[Any, Any, Any] = getattr(getattr(client, self._prefix), verb)(
                *values, **params
            )
            return made

        return self._client._run(ask)


class _LoopThread:
    """An event loop in a thread, and the client that uses it."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.pid = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._stopping = False
        self._lock = threading.RLock()
        self._thread = threading.Thread(
            target=self._serve, name="kaiju_tasks.SyncClient", daemon=True
        )
        self._thread.start()

    @property
    def usable(self) -> bool:
        """False after `stop`, and in a forked child process, which does not have the thread."""
        return not self._stopping and self.pid == os.getpid()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and wait for it. Interrupting the wait cancels it."""
        if not self.usable:
            work.close()
            raise Unavailable("the client was closed, or belongs to the parent process of a fork")
        with self._lock:
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except CancelledError:
            raise Unavailable("the client was closed during the call") from None
        finally:
            future.cancel()

    def stop(self) -> None:
        """Close the client and end the thread."""
        with self._lock:
            if not self.usable:
                return
            self._stopping = True
            self._loop.call_soon_threadsafe(self._loop.stop)
        if (
            threading.current_thread() is not self._thread
        ):  # any thread can run the garbage collector
            self._thread.join()

    def _serve(self) -> None:
        self._loop.run_forever()
        self._loop.run_until_complete(self._close())
        self._loop.close()

    async def _close(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self.client.close()


_starting = threading.Lock()
_inherited: list[_LoopThread] = []
"""Threads that a forked child process has inherited. They are kept from garbage collection,
because closing them would disturb the connections of the parent process."""


def _renew() -> None:
    """Replace the lock: another thread of the parent process may have held it at the fork."""
    global _starting
    _starting = threading.Lock()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_renew)

"""Runs statements in a thread that owns a SQLite connection."""

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]


STEPS = 500
"""Steps of SQLite's virtual machine between two looks at the time; a row takes about ten."""


def within(seconds: float, work: Work[T], exceeded: Callable[[], Exception]) -> Work[T]:
    """Work whose statements are interrupted after some time.

    :param exceeded: makes the error that is raised then
    """

    def run(db: sqlite3.Connection) -> T:
        until = time.monotonic() + seconds
        db.set_progress_handler(lambda: time.monotonic() >= until, STEPS)
        try:
            return work(db)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                raise exceeded() from None
            raise
        finally:
            db.set_progress_handler(None, 0)

    return run


class ConnectionThread:
    """Runs work on a connection, one item after another, in the order of the calls.

    Submitted work is done even if the caller no longer waits for its result.

    :param name: the name of the thread
    :param connect: opens the connection; it is called in the thread
    :param inline: whether to run work in the caller's thread instead
    """

    def __init__(
        self, name: str, connect: Callable[[], sqlite3.Connection], *, inline: bool = False
    ) -> None:
        self._name = name
        self._connect = connect
        self._inline = inline
        self._db: sqlite3.Connection | None = None
        self._jobs: queue.SimpleQueue[tuple[Work[Any], asyncio.Future[Any]] | None]
        self._jobs = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def start(self) -> None:
        """Open the connection. Exceptions of `connect` are raised here."""
        if self._inline:
            self._db = self._connect()
            return
        connected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._thread = threading.Thread(
            target=self._serve, args=(connected,), name=self._name, daemon=True
        )
        self._thread.start()
        try:
            await connected
        except Exception:
            self._thread.join()
            self._thread = None
            raise

    async def run(self, work: Work[T]) -> T:
        """Run work and return its result or raise its exception.

        :raises sqlite3.ProgrammingError: the store is closed
        """
        if self._inline:
            if self._db is None:
                raise sqlite3.ProgrammingError("the store is closed")
            return work(self._db)
        if self._thread is None:
            raise sqlite3.ProgrammingError("the store is closed")
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put((work, done))
        return await done

    async def close(self) -> None:
        """Finish the submitted work, then close the connection."""
        if self._db is not None:
            self._db.close()
            self._db = None
        if (thread := self._thread) is not None:
            self._thread = None
            self._jobs.put(None)
            await asyncio.to_thread(thread.join)

    def _serve(self, connected: asyncio.Future[None]) -> None:
        try:
            db = self._connect()
        except BaseException as error:
            _resolve(connected, None, error)
            return
        _resolve(connected, None, None)
        while (job := self._jobs.get()) is not None:
            work, done = job
            try:
                result = work(db)
            except BaseException as error:
                _resolve(done, None, error)
            else:
                _resolve(done, result, None)
            del job, work, done
        db.close()


def _resolve(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    try:
        future.get_loop().call_soon_threadsafe(_set_outcome, future, result, error)
    except RuntimeError:  # the loop is closed, so no caller waits
        pass


def _set_outcome(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)

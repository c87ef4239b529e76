"""Passes progress, log lines, requests for more time and calls of the manager from a command to its
stage."""

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from typing import Any, Protocol

from kaiju_tasks.executor.context import StageInfo, Stopped
from kaiju_tasks.executor.logs import AttemptLog
from kaiju_tasks.executor.stage_tasks import StageTasks

__all__ = ["Listener", "StageBridge"]

logger = logging.getLogger("kaiju_tasks.executor.command")

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


class Listener(Protocol):
    """The stage of a command. Its methods are called on the event loop only."""

    over: bool

    @property
    def max_result_bytes(self) -> int: ...

    def seconds_left(self) -> float: ...

    def progress(self, done: float, total: float | None, message: str | None) -> None: ...

    def extend(self, seconds: float) -> None: ...

    @property
    def crowded(self) -> bool: ...

    async def call(self, method: str, params: dict[str, Any]) -> Any: ...

    def refusal(self) -> BaseException: ...


class StageBridge:
    """Passes the calls of a command's context, from any thread, to its stage."""

    __slots__ = ("_info", "_listener", "_log", "_loop", "_thread")

    def __init__(self, info: StageInfo, listener: Listener, log: AttemptLog) -> None:
        self._info = info
        self._listener = listener
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    def progress(self, done: float, total: float | None, message: str | None) -> None:
        self.check()
        self._call(self._listener.progress, done, total, message)

    def check(self) -> None:
        if self._listener.over and isinstance(refusal := self._listener.refusal(), Stopped):
            raise refusal

    def log(self, level: str, message: str, fields: dict[str, Any]) -> None:
        details = {
            "task_id": self._info.task_id,
            "job_id": self._info.job_id,
            "app_name": self._info.app_name,
            "stage": self._info.stage,
            "attempt": self._info.attempt,
            "method": self._info.method,
            "fields": fields,
        }
        self._log.add(level, message, fields)
        logger.log(LEVELS.get(level, logging.INFO), "%s", message, extra=details)

    def output(self, line: str) -> None:
        """Keep a line that the command has printed."""
        self._log.add("info", line, {}, "output")

    def extend(self, seconds: float) -> None:
        self._call(self._listener.extend, seconds)

    def tasks(self) -> StageTasks:
        return StageTasks(self)

    @property
    def crowded(self) -> bool:
        return self._listener.crowded

    async def call(self, method: str, params: dict[str, Any]) -> Any:
        return await self._listener.call(method, params)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        if threading.get_ident() == self._thread:
            return work
        if self._listener.over or self._loop.is_closed():
            work.close()
            raise self._listener.refusal()
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result()
        except CancelledError:
            raise Stopped("the stage has been stopped") from None

    def seconds_left(self) -> float:
        return self._listener.seconds_left()

    def max_result_bytes(self) -> int:
        return self._listener.max_result_bytes

    def stopped(self) -> bool:
        return self._listener.over

    def _call(self, method: Callable[..., None], *args: Any) -> None:
        if threading.get_ident() == self._thread:
            method(*args)
        else:
            self._loop.call_soon_threadsafe(method, *args)

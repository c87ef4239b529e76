"""Handles the signals that stop a manager."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator

from kaiju_tasks.signals import handling_signals

__all__ = ["Stop", "stop_signals"]


class Stop(asyncio.Event):
    """An event that the first signal sets. Each further signal calls `on_again`, and each SIGHUP
    `on_hangup`."""

    def __init__(self) -> None:
        super().__init__()
        self.on_again: Callable[[], None] = _nothing
        self.on_hangup: Callable[[], None] = _nothing

    def signalled(self) -> None:
        if self.is_set():
            self.on_again()
        self.set()


@contextlib.contextmanager
def stop_signals() -> Iterator[Stop]:
    """Handle SIGTERM, SIGINT and SIGHUP until the end of the block."""
    stop = Stop()
    with handling_signals(stop.signalled, on_hangup=lambda: stop.on_hangup()):
        yield stop


def _nothing() -> None:
    return None

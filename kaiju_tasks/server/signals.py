"""The signals that end a manager."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator

__all__ = ["Stop", "stop_signals"]


class Stop(asyncio.Event):
    """Set by the first signal; the next ones call `on_again`."""

    def __init__(self) -> None:
        super().__init__()
        self.on_again: Callable[[], None] = _nothing

    def signalled(self) -> None:
        if self.is_set():
            self.on_again()
        self.set()


@contextlib.contextmanager
def stop_signals() -> Iterator[Stop]:
    """Take SIGTERM, SIGINT and, unless it is ignored, SIGHUP while the context is open."""
    stop = Stop()
    loop = asyncio.get_running_loop()
    taken = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        taken.append(signal.SIGHUP)  # its terminal is closed; nohup ignores it
    for number in taken:
        loop.add_signal_handler(number, stop.signalled)
    try:
        yield stop
    finally:
        for number in taken:
            loop.remove_signal_handler(number)


def _nothing() -> None:
    return None

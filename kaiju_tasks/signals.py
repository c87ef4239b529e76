"""The signals that ask a process to end."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator

__all__ = ["handling_signals"]


@contextlib.contextmanager
def handling_signals(
    handle: Callable[[], None], *, once: bool = False, on_hangup: Callable[[], None] | None = None
) -> Iterator[None]:
    """Call `handle` in the running loop on SIGTERM, SIGINT and SIGHUP, inside the block.

    SIGHUP is left alone if it is ignored.

    :param once: handle only the first signal; the next one has its default effect and ends the
        process
    :param on_hangup: called on SIGHUP instead, also if it is ignored
    """
    loop = asyncio.get_running_loop()
    taken = [signal.SIGTERM, signal.SIGINT]
    if on_hangup is None and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        taken.append(signal.SIGHUP)  # sent when the terminal is closed; nohup ignores it

    def give_back() -> None:
        for number in taken:
            loop.remove_signal_handler(number)

    def signalled() -> None:
        if once:
            give_back()
        handle()

    for number in taken:
        loop.add_signal_handler(number, signalled)
    if on_hangup is not None:
        loop.add_signal_handler(signal.SIGHUP, on_hangup)
    try:
        yield
    finally:
        give_back()
        if on_hangup is not None:
            loop.remove_signal_handler(signal.SIGHUP)

"""The signals that ask a process to end."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator

__all__ = ["handling_signals"]


@contextlib.contextmanager
def handling_signals(handle: Callable[[], None], *, once: bool = False) -> Iterator[None]:
    """Call `handle` in the running loop on SIGTERM, SIGINT and SIGHUP, inside the block.

    SIGHUP is left alone if it is ignored.

    :param once: handle only the first signal; the next one has its default effect and ends the
        process
    """
    loop = asyncio.get_running_loop()
    taken = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
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
    try:
        yield
    finally:
        give_back()

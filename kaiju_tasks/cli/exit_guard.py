"""Ends a process whose shutdown hangs: in a hook that blocks, or in a thread that is waited for."""

import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable

from kaiju_tasks.executor.process import restart_process

__all__ = ["guarding_exit"]

logger = logging.getLogger("kaiju_tasks.executor")

STACK_FRAMES = 8


def _guard(seconds: float, end: Callable[[], None]) -> None:
    """Call `end` in a thread if the process has not ended in time.

    :param seconds: from now
    :param end: ends the process at once
    """
    main = threading.get_ident()

    def late() -> None:
        frame = sys._current_frames().get(main)
        lines = traceback.format_stack(frame)[-STACK_FRAMES:] if frame is not None else []
        logger.error(
            "the process has not ended within %g seconds, and is ended now. It stands at:\n%s",
            seconds,
            "".join(lines).rstrip(),
        )
        for handler in logging.getLogger().handlers:
            handler.flush()
        end()

    timer = threading.Timer(seconds, late)
    timer.daemon = True
    timer.start()


def guarding_exit(seconds: float) -> Callable[[int, bool], None]:
    """What `run_executor` calls when it is about to end.

    :param seconds: that the end may take
    """

    def ending(code: int, restarts: bool) -> None:
        _guard(seconds, restart_process if restarts else lambda: os._exit(code))

    return ending

"""Ends a test that hangs, and shows where its tasks wait."""

import asyncio
import io
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import pytest

SECONDS = int(os.environ.get("TEST_SECONDS", "300"))
"""More than any test takes on a busy machine, and less than `faulthandler_timeout`, which ends the
whole worker: it is left for code that Python cannot interrupt. A test that somebody makes larger
needs more of both."""


@contextmanager
def ended_if_it_hangs(seconds: float = SECONDS) -> Iterator[None]:
    """Fail a test that does not end. Its fixtures are torn down, within the same time."""

    def hangs(_: int, frame: FrameType | None) -> None:
        pytest.fail(f"the test hangs: it was ended after {seconds} s\n{_tasks()}")

    before = signal.signal(signal.SIGALRM, hangs)
    outer = signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *outer)
        signal.signal(signal.SIGALRM, before)


def _tasks() -> str:
    """The stacks of the asyncio tasks, which the traceback of a waiting event loop lacks."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return "no event loop is running"
    stacks = io.StringIO()
    for task in sorted(asyncio.all_tasks(loop), key=asyncio.Task.get_name):
        task.print_stack(file=stacks)
    return stacks.getvalue()

"""Measures what the answer to a message costs the event loop, and whether it had an effect."""

from collections.abc import Coroutine, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter
from types import coroutine
from typing import Any, TypeVar

__all__ = [
    "Effort",
    "count_as_useful",
    "counting_waits",
    "measured",
    "seconds_spent",
]

T = TypeVar("T")


class Effort:
    """What one message costs.

    :ivar seconds: the time of the event loop, without that of other tasks
    :ivar useful: whether it had an effect, such as a new task
    :ivar began: when the step of the answer began that runs now
    """

    __slots__ = ("began", "seconds", "useful")

    def __init__(self) -> None:
        self.began = 0.0
        self.seconds = 0.0
        self.useful = False

    @property
    def so_far(self) -> float:
        """The seconds that were used, in the step that runs, too."""
        return self.seconds + perf_counter() - self.began

    def measure(self, answer: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
        """Await the answer to the message."""
        return _measured(answer, self)


_current: ContextVar[Effort | None] = ContextVar("effort", default=None)


def count_as_useful() -> None:
    """Count the message that is being answered as one with an effect."""
    effort = _current.get()
    if effort is not None:
        effort.useful = True


def seconds_spent() -> float:
    """What the message that is being answered has cost so far."""
    effort = _current.get()
    return 0.0 if effort is None else effort.so_far


@contextmanager
def counting_waits() -> Iterator[None]:
    """Count the whole duration of the block, which waits for a transaction of its own."""
    effort = _current.get()
    if effort is None:
        yield
        return
    began, seconds = perf_counter(), effort.so_far
    try:
        yield
    finally:
        effort.seconds = seconds + perf_counter() - began
        effort.began = perf_counter()


async def measured(part: Coroutine[Any, Any, T]) -> T:
    """Await a part of an answer that has a task of its own, and count it as well."""
    effort = _current.get()
    return await (part if effort is None else _measured(part, effort))


@coroutine
def _measured(answer: Coroutine[Any, Any, T], effort: Effort) -> Generator[Any, Any, T]:
    """Await a coroutine, and measure its steps. Each request passes here: no step calls another
    function of Python."""
    _current.set(effort)
    argument: Any = None
    failure: BaseException | None = None
    while True:
        effort.began = perf_counter()
        try:
            awaited = answer.send(argument) if failure is None else answer.throw(failure)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            effort.seconds += perf_counter() - effort.began
        failure = None
        try:
            argument = yield awaited
        except BaseException as error:
            failure = error

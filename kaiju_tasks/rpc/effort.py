"""Measures what the answer to a message costs the event loop, and whether it had an effect."""

from collections.abc import Coroutine, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter
from typing import Any, Generic, TypeVar

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
    """

    __slots__ = ("_began", "seconds", "useful")

    def __init__(self) -> None:
        self._began = 0.0
        self.seconds = 0.0
        self.useful = False

    def begin_step(self) -> None:
        """A step of the answer begins."""
        self._began = perf_counter()

    def end_step(self) -> None:
        """Count the step."""
        self.seconds += perf_counter() - self._began

    @property
    def so_far(self) -> float:
        """The seconds that were used, in the step that runs, too."""
        return self.seconds + perf_counter() - self._began

    async def measure(self, answer: Coroutine[Any, Any, T]) -> T:
        """Await the answer to the message."""
        _current.set(self)
        return await _Measured(answer, self)


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
        effort.begin_step()


async def measured(part: Coroutine[Any, Any, T]) -> T:
    """Await a part of an answer that has a task of its own, and count it as well."""
    effort = _current.get()
    return await (part if effort is None else _Measured(part, effort))


class _Measured(Generic[T]):
    """A coroutine whose steps are measured."""

    def __init__(self, coroutine: Coroutine[Any, Any, T], effort: Effort) -> None:
        self._coroutine = coroutine
        self._effort = effort

    def __await__(self) -> Generator[Any, Any, T]:
        inner, effort = self._coroutine.__await__(), self._effort
        argument: Any = None
        failure: BaseException | None = None
        while True:
            effort.begin_step()
            try:
                awaited = inner.send(argument) if failure is None else inner.throw(failure)
            except StopIteration as stop:
                result: T = stop.value
                return result
            finally:
                effort.end_step()
            failure = None
            try:
                argument = yield awaited
            except BaseException as error:
                failure = error

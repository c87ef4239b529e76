"""Runs batch commands: collects the calls of several stages, and calls the function with all."""

import asyncio
from collections.abc import Callable, Sequence
from contextvars import copy_context
from typing import Any, Protocol

from kaiju_tasks.errors import reason_of
from kaiju_tasks.executor.batch_signature import BatchCall
from kaiju_tasks.executor.calls import Done
from kaiju_tasks.executor.clock import Clock, TimerHandle
from kaiju_tasks.executor.context import Stopped
from kaiju_tasks.executor.failures import NotBegun
from kaiju_tasks.executor.places import PLACE_SECONDS, Places
from kaiju_tasks.executor.start_gate import StartGate
from kaiju_tasks.executor.threads import ThreadPool

__all__ = ["Batches", "Member"]


class BatchCommand(Protocol):
    """What is called with a batch.

    :ivar function: gets the calls and returns their outcomes
    :ivar in_thread: whether it is a `def`
    :ivar batch: the most calls of a batch
    :ivar wait: how long the first call of a batch waits for others, in seconds
    """

    function: Callable[..., Any]
    in_thread: bool
    batch: int | None
    wait: float


class Batches:
    """The batches of a process.

    :param places: of functions that run in a thread
    :param found_no_place: called when a batch has waited in vain for a place
    """

    def __init__(
        self,
        clock: Clock,
        gate: StartGate,
        threads: ThreadPool,
        places: Places,
        found_no_place: Callable[[], None],
    ) -> None:
        self.clock = clock
        self.gate = gate
        self.threads = threads
        self.places = places
        self.found_no_place = found_no_place
        self.context = copy_context()
        self._collectors: dict[int, _Collector] = {}

    def member(self, command: BatchCommand, call: BatchCall[Any], done: Done) -> "Member":
        """Make the call of a stage. It joins a batch when it starts."""
        collector = self._collectors.get(id(command))
        if collector is None:
            collector = self._collectors[id(command)] = _Collector(self, command)
        return Member(collector, call, done)


class Member:
    """The call of one stage in a batch. It ends alone: a batch goes on for its other members."""

    __slots__ = ("_collector", "_done", "_ended", "batch", "call", "stopped")

    def __init__(self, collector: "_Collector", call: BatchCall[Any], done: Done) -> None:
        self._collector = collector
        self._done = done
        self._ended = False
        self.call = call
        self.stopped = False
        self.batch: _Batch | None = None

    def start(self) -> None:
        self._collector.add(self)

    def stop(self) -> None:
        if self._ended or self.stopped:
            return
        self.stopped = True
        if self.batch is None:
            self._collector.remove(self)
        elif self.batch.goes_on_without(self):
            return
        self.end(None, NotBegun())

    @property
    def alive(self) -> bool:
        return not self._ended and self.batch is not None and self.batch.begun

    @property
    def waits_for_place(self) -> bool:
        """Whether its batch is complete, and no thread is free for it."""
        return self.batch is not None and self.batch.waits_for_place

    @property
    def batch_goes_on(self) -> bool:
        """Whether the function runs for a stage that was not stopped."""
        return self.batch is not None and self.batch.needed

    def runs_in(self, task: "asyncio.Task[object]") -> bool:
        """Whether this is the task in which the function runs."""
        return self.batch is not None and self.batch.task is task

    def end(self, value: Any, error: BaseException | None) -> None:
        """End the call. Only the first end counts."""
        if not self._ended:
            self._ended = True
            self._done(self, value, error)


class _Collector:
    """Collects the calls of one command."""

    def __init__(self, batches: Batches, command: BatchCommand) -> None:
        assert command.batch is not None
        self._batches = batches
        self._command = command
        self._size = command.batch
        self._waiting: list[Member] = []
        self._timer: TimerHandle | None = None

    def add(self, member: Member) -> None:
        self._waiting.append(member)
        if len(self._waiting) >= self._size:
            self._begin()
        elif self._timer is None:
            self._timer = self._batches.clock.call_later(self._command.wait, self._begin)

    def remove(self, member: Member) -> None:
        self._waiting.remove(member)
        if not self._waiting:
            self._stop_timer()

    def _begin(self) -> None:
        self._stop_timer()
        members, self._waiting = self._waiting, []
        _Batch(self._batches, self._command, members).start()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Batch:
    """One call of the function.

    :ivar begun: whether the function runs
    :ivar task: in which it runs, if it is an `async def`
    """

    def __init__(self, batches: Batches, command: BatchCommand, members: Sequence[Member]) -> None:
        self._batches = batches
        self._command = command
        self._members = list(members)
        self._loop = asyncio.get_running_loop()
        self.begun = False
        self.task: asyncio.Task[None] | None = None
        self._place_timer: TimerHandle | None = None
        for member in members:
            member.batch = self

    @property
    def waits_for_place(self) -> bool:
        return self._place_timer is not None

    @property
    def needed(self) -> bool:
        """Whether the function runs, and not all members were stopped."""
        return self.begun and not all(member.stopped for member in self._members)

    def start(self) -> None:
        """Begin as soon as the leases are known to stand and, for a `def`, a thread is free."""
        self._batches.gate.when_open(self._when_open)

    def goes_on_without(self, member: Member) -> bool:
        """A member was stopped.

        :returns: whether it ends only with the batch, as the last of its members
        """
        if not self.begun:
            self._members.remove(member)
            return False
        if not all(one.stopped for one in self._members):
            return False
        if self.task is not None:
            self.task.cancel()
        return True

    def _when_open(self) -> None:
        if not self._members:
            return
        if self._command.in_thread:
            later = self._batches.clock.call_later
            self._place_timer = later(PLACE_SECONDS, self._place_not_found)
            self._batches.places.wait(self._begin_in_thread)
        else:
            self.task = self._loop.create_task(self._run(), context=self._batches.context.copy())

    def _place_not_found(self) -> None:
        self._place_timer = None
        members, self._members = self._members, []
        if members:
            self._batches.found_no_place()
        for member in members:
            member.end(None, NotBegun())

    def _begin_in_thread(self) -> bool:
        if self._place_timer is not None:
            self._place_timer.cancel()
            self._place_timer = None
        if not self._members:
            return False
        self.begun = True
        self._batches.threads.submit(self._run_in_thread)
        return True

    async def _run(self) -> None:
        await self._batches.gate.opened()
        if not self._members:
            return
        self.begun = True
        try:
            value = await self._command.function(self._calls())
        except asyncio.CancelledError:
            self._fail(RuntimeError("the command cancelled itself"))
        except BaseException as error:  # sys.exit() in a command must not end the executor
            self._fail(error)
        else:
            self._succeed(value)

    def _run_in_thread(self) -> None:
        if self._batches.gate.seconds_left() <= 0:  # the thread stood still before it began
            self._call_soon(self._postpone)
            return
        try:
            if all(member.stopped for member in self._members):
                raise Stopped("all stages were stopped before the batch began")
            value = self._batches.context.copy().run(self._command.function, self._calls())
        except BaseException as error:  # the pool's thread must survive the command
            self._call_soon(self._left, self._fail, error)
        else:
            self._call_soon(self._left, self._succeed, value)

    def _calls(self) -> list[BatchCall[Any]]:
        return [member.call for member in self._members]

    def _call_soon(self, callback: Callable[..., None], *args: Any) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(callback, *args)

    def _postpone(self) -> None:
        self.begun = False
        stopped = [member for member in self._members if member.stopped]
        self._members = [member for member in self._members if not member.stopped]
        for member in stopped:
            member.end(None, NotBegun())
        self._batches.places.leave()
        self.start()

    def _left(self, then: Callable[[Any], None], outcome: Any) -> None:
        self._batches.places.leave()
        then(outcome)

    def _succeed(self, outcomes: Any) -> None:
        if not isinstance(outcomes, list | tuple) or len(outcomes) != len(self._members):
            found = f"{len(outcomes)} of them" if isinstance(outcomes, list | tuple) else outcomes
            message = (
                f"the command must return a list of {len(self._members)} outcomes, one for each "
                f"call, not {found!r:.200}"
            )
            self._fail(TypeError(message))
            return
        self._end(outcomes)

    def _fail(self, error: BaseException) -> None:
        self._end([error] * len(self._members))

    def _end(self, outcomes: Sequence[Any]) -> None:
        self.begun = False
        for member, outcome in zip(self._members, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                member.end(None, _plain(outcome))
            else:
                member.end(outcome, None)


def _plain(error: BaseException) -> BaseException:
    """An error that means what it says: these have a meaning of their own for the executor."""
    if isinstance(error, NotBegun | asyncio.CancelledError):
        return RuntimeError(f"the command returned {type(error).__name__}: {reason_of(error)}")
    return error

"""Gives a command access to its stage: ids, deadline, progress, logging and tasks."""

import math
from typing import Any, Protocol

__all__ = ["Context", "ContextBridge", "StageInfo", "Stopped"]

import msgspec

from kaiju_tasks.executor.log_fields import plain_text
from kaiju_tasks.executor.stage_tasks import StageTasks


class Stopped(BaseException):
    """The stage has been stopped, for example by a timeout or a revoked lease.

    `Context.check` and `Context.progress` raise it in a thread to end the command. It is not a
    subclass of `Exception`, so `except Exception` does not catch it.
    """


class StageInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The identifying data of a stage. Process commands get it as JSON.

    :param scheduled_at: UNIX seconds
    """

    task_id: str
    job_id: str
    app_name: str
    method: str
    stage: int
    attempt: int
    cycle: int
    scheduled_at: float | None


class ContextBridge(Protocol):
    """Connects a Context to its stage: on the event loop, from a thread, or through a pipe."""

    def progress(self, done: float, total: float | None, message: str | None) -> None:
        """:raises Stopped: as `check` does"""
        ...

    def check(self) -> None:
        """:raises Stopped: the stage has been stopped, and its batch does not go on"""
        ...

    def log(self, level: str, message: str, fields: dict[str, Any]) -> None: ...

    def extend(self, seconds: float) -> None: ...

    def seconds_left(self) -> float: ...

    def max_result_bytes(self) -> int: ...

    def stopped(self) -> bool: ...

    def tasks(self) -> StageTasks: ...


class Context:
    """The stage in which a command runs. It is passed to the parameter annotated `Context`.

    Async, thread and process commands can use it.

    :ivar state: the value of the executor's `lifespan`; None in a process command
    """

    __slots__ = ("_bridge", "_info", "state")

    def __init__(self, info: StageInfo, bridge: ContextBridge, state: Any = None) -> None:
        self._info = info
        self._bridge = bridge
        self.state = state

    @property
    def task_id(self) -> str:
        return self._info.task_id

    @property
    def job_id(self) -> str:
        """The id of the run. A new run or a reset gets a new id; a retry keeps it."""
        return self._info.job_id

    @property
    def app_name(self) -> str:
        return self._info.app_name

    @property
    def method(self) -> str:
        return self._info.method

    @property
    def stage(self) -> int:
        """The index of this stage in the task, from 0."""
        return self._info.stage

    @property
    def attempt(self) -> int:
        """The number of this attempt of the stage, from 1."""
        return self._info.attempt

    @property
    def scheduled_at(self) -> float | None:
        """The scheduled time of the run in UNIX seconds; None for a task without a schedule."""
        return self._info.scheduled_at

    @property
    def idempotency_key(self) -> str:
        """A key that all retries of this stage share. A retry from the first stage changes it."""
        return idempotency_key(self._info)

    @property
    def deadline(self) -> float:
        """Seconds until the stage is stopped, from 0."""
        return max(0.0, self._bridge.seconds_left())

    @property
    def max_result_bytes(self) -> int:
        """The most bytes that the result may have as JSON."""
        return self._bridge.max_result_bytes()

    @property
    def tasks(self) -> StageTasks:
        """The methods `tasks.*` of the manager, with the rights of the task's owner:
        `await ctx.tasks.create({...})`, and without `await` in a thread.

        :raises RuntimeError: the command runs in a process of its own
        """
        return self._bridge.tasks()

    @property
    def stopped(self) -> bool:
        """Whether the stage has been stopped, so that its result is no longer needed."""
        return self._bridge.stopped()

    def check(self) -> None:
        """Raise `Stopped` if the stage has been stopped. Call it regularly in a thread command.

        In a batch, a stopped stage does not end the work for the others: ask `stopped` there.

        :raises Stopped: the stage has been stopped, and in a batch all its stages
        """
        self._bridge.check()

    def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """Report the progress of the stage. It is cheap to call often: at most one report every
        0.2 seconds is sent.

        :param done: the number of completed units
        :param total: the total number of units, if known
        :param message: a short text for people
        :raises ValueError: a number is not finite
        :raises Stopped: the stage has been stopped, and in a batch all its stages
        """
        for name, number in (("done", done), ("total", total)):
            if number is not None:
                _check_finite(name, number)
        text = None if message is None else plain_text(message)
        self._bridge.progress(done, total, text)

    def log(self, message: str, level: str = "info", **fields: Any) -> None:
        """Write a log line with the task, the job and the stage.

        :param level: `debug`, `info`, `warning` or `error`
        :param fields: structured details
        """
        self._bridge.log(level, message, fields)

    def extend(self, seconds: float) -> None:
        """Ask the manager for more time. The deadline moves when the manager grants it.

        :param seconds: additional seconds, above 0 and up to 14400
        :raises ValueError: `seconds` is out of range
        """
        if not 0 < seconds <= 14_400:
            raise ValueError(f"`seconds` must be more than 0 and at most 14400, not {seconds}")
        self._bridge.extend(seconds)


def _check_finite(name: str, number: float) -> None:
    try:
        finite = math.isfinite(number)
    except OverflowError:
        raise ValueError(
            f"`{name}` must be a finite number, not an integer beyond 1.8e308"
        ) from None
    if not finite:
        raise ValueError(f"`{name}` must be a finite number, not {number}")


def idempotency_key(info: StageInfo) -> str:
    """`job_id/stage`, or `job_id.cycle/stage` after a retry from the first stage."""
    run = f"{info.job_id}.{info.cycle}" if info.cycle else info.job_id
    return f"{run}/{info.stage}"

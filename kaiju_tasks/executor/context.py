"""What a command may know and say about the stage it runs in."""

from typing import Any, Protocol

__all__ = ["Context", "ContextBridge", "StageInfo", "Stopped"]

import msgspec


class Stopped(BaseException):
    """The stage is over (timed out, revoked): raised in a thread by `Context.check` and
    `Context.progress`, so that its work ends. No `Exception`: `except Exception` lets it pass."""


class StageInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The plain facts of one stage; they travel to process commands as JSON."""

    task_id: str
    job_id: str
    app_name: str
    method: str
    stage: int
    attempt: int
    cycle: int
    scheduled_at: float | None


class ContextBridge(Protocol):
    """How a running stage is heard: on the loop, from a thread, through a worker's pipe."""

    def progress(self, done: float, total: float | None, message: str | None) -> None: ...

    def log(self, level: str, message: str, fields: dict[str, Any]) -> None: ...

    def extend(self, seconds: float) -> None: ...

    def seconds_left(self) -> float: ...

    def stopped(self) -> bool: ...


class Context:
    """Given to a command's parameter that is annotated `Context`.

    Usable from async, thread and process commands alike.

    :ivar state: what the executor's `lifespan` yielded; None in a process command
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
        """Id of the run: new when a run starts or is reset, not at a retry."""
        return self._info.job_id

    @property
    def app_name(self) -> str:
        return self._info.app_name

    @property
    def method(self) -> str:
        return self._info.method

    @property
    def stage(self) -> int:
        """Index of this stage within the task, from 0."""
        return self._info.stage

    @property
    def attempt(self) -> int:
        """From 1; more when the stage is tried again."""
        return self._info.attempt

    @property
    def scheduled_at(self) -> float | None:
        """UNIX time of the schedule's fire; None for a task without a schedule."""
        return self._info.scheduled_at

    @property
    def idempotency_key(self) -> str:
        """The same over retries of this stage; a retry from the first stage has new ones."""
        return idempotency_key(self._info)

    @property
    def deadline(self) -> float:
        """Seconds left before the stage is stopped, never less than 0."""
        return max(0.0, self._bridge.seconds_left())

    @property
    def stopped(self) -> bool:
        """Whether the stage is over already, so that its work is for nothing."""
        return self._bridge.stopped()

    def check(self) -> None:
        """Raise `Stopped` when the stage is over: call it between steps of a thread's work."""
        if self._bridge.stopped():
            raise Stopped("the stage is over")

    def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """Say how far the work is. Cheap: what comes too fast is thinned out.

        :param done: units done
        :param total: units in all, if known
        :param message: a short text for people
        :raises Stopped: the stage is over (in threads and processes)
        """
        self.check()
        self._bridge.progress(done, total, message)

    def log(self, message: str, level: str = "info", **fields: Any) -> None:
        """Log a line that names the task, job and stage.

        :param level: debug, info, warning or error
        :param fields: details for programs
        """
        self._bridge.log(level, message, fields)

    def extend(self, seconds: float) -> None:
        """Ask the manager for more time; the deadline moves when it grants it.

        :param seconds: more than the stage has now
        """
        if not 0 < seconds <= 14_400:
            raise ValueError(f"`seconds` must be more than 0 and at most 14400, not {seconds}")
        self._bridge.extend(seconds)


def idempotency_key(info: StageInfo) -> str:
    """`job_id/stage`, and `job_id.cycle/stage` after a retry from the first stage."""
    run = f"{info.job_id}.{info.cycle}" if info.cycle else info.job_id
    return f"{run}/{info.stage}"

"""`Context.tasks`: the methods `tasks.*` of the manager, for the command of a stage."""

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol

from kaiju_tasks.positional import named
from kaiju_tasks.types import ENDED

if TYPE_CHECKING:
    from kaiju_tasks.executor.signatures import StageTaskMethods
else:
    StageTaskMethods = object

__all__ = ["StageTasks", "TaskCaller"]

WAIT_SECONDS = 20.0
CROWDED_WAIT_SECONDS = 2.0
"""How long one call waits at most, and if many stages of the process wait."""
RUNS_LOOKED_AT = 10

Json = dict[str, Any]


class TaskCaller(Protocol):
    """Carries out the calls of one stage."""

    @property
    def crowded(self) -> bool:
        """Whether very many stages wait for tasks."""
        ...

    async def call(self, method: str, params: Json) -> Any:
        """Call a method of the manager. Only on the event loop."""
        ...

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """On the event loop, return the coroutine. In another thread, run it and return its
        value."""
        ...


class StageTasks(StageTaskMethods):
    """The methods of `tasks` as attributes: `await ctx.tasks.create({...})` in an `async def`, and
    `ctx.tasks.create({...})` without `await` in a `def`.

    They have the rights of the task's owner, within those of the token that created the task. What
    they create has the task as its parent. Results are plain data, and errors of the manager are
    raised as the classes of `kaiju_tasks.errors` that have their codes.

    :raises Stopped: (in a thread) the stage has been stopped
    :raises StaleLease: the stage has been stopped, and its batch goes on for others
    """

    def __init__(self, caller: TaskCaller) -> None:
        self._caller = caller

    if not TYPE_CHECKING:  # type checkers know the methods by their signatures

        def __getattr__(self, verb: str) -> Callable[..., Any]:
            if verb.startswith("_"):
                raise AttributeError(verb)
            method = f"tasks.{verb}"

            def call(*values: Any, **params: Any) -> Any:
                given = named(method, values, params)
                return self._caller.run(self._caller.call(method, given))

            call.__name__ = call.__qualname__ = verb
            return call

    def wait(self, id: str, timeout: float | None = None) -> Any:
        """Wait until the run of a task ends, or until the timeout.

        The stage keeps its place meanwhile; a `_TASKS_` stage waits without one.

        :param timeout: seconds, 0 or more; None waits until the stage is stopped
        :returns: the task at the end of the wait
        :raises NotFound: the task does not exist
        :raises InvalidParams: it is the task of this stage
        """
        return self._caller.run(self._wait(id, timeout))

    async def _wait(self, id: str, timeout: float | None) -> Json:
        loop = asyncio.get_running_loop()
        until = math.inf if timeout is None else loop.time() + timeout
        task = await self._look(id, 0.0)
        over = task["status"] in ENDED
        while not over and (left := until - loop.time()) > 0:
            most = CROWDED_WAIT_SECONDS if self._caller.crowded else WAIT_SECONDS
            before, task = task, await self._look(id, min(most, left))
            over = await self._run_is_over(before, task)
        return task

    async def _look(self, id: str, seconds: float) -> Json:
        task: Json = await self._caller.call("tasks.wait", {"id": id, "timeout": seconds})
        return task

    async def _run_is_over(self, before: Json, task: Json) -> bool:
        """Whether the run that was open at an earlier look has ended or, if none was open, the one
        after it. Between two looks, one run of a schedule can end and another one begin."""
        if task["status"] in ENDED:
            return True
        was_open, another = _is_open(before), task["job_id"] != before["job_id"]
        if not _is_open(task):
            return was_open or another
        if not (another and (task["cron"] or task["every"])):
            return False
        return was_open or await self._ended_since(before)

    async def _ended_since(self, before: Json) -> bool:
        """Whether a run has ended after the last one of an earlier look."""
        params = {"id": before["id"], "limit": RUNS_LOOKED_AT}
        for run in await self._caller.call("tasks.runs", params):
            if run["job_id"] == before["job_id"] is not None:
                return False
            if run["status"] in ENDED:
                return True
        return False


def _is_open(task: Json) -> bool:
    """Whether the task has an open run. It is IDLE before a retry, too."""
    return task["job_id"] is not None and task["exit_code"] is None

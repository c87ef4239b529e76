"""`Context.tasks`: the methods `tasks.*` of the manager, for the command of a stage."""

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from kaiju_tasks.positional import named
from kaiju_tasks.types import ENDED

__all__ = ["StageTasks", "TaskCaller"]

WAIT_SECONDS = 20.0
CROWDED_WAIT_SECONDS = 2.0
"""How long one call waits at most, and if many stages of the process wait."""

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


class StageTasks:
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
        while True:
            asked_at = loop.time()
            most = CROWDED_WAIT_SECONDS if self._caller.crowded else WAIT_SECONDS
            seconds = max(0.0, min(most, until - asked_at))
            params = {"id": id, "timeout": seconds}
            task: Json = await self._caller.call("tasks.wait", params)
            now = loop.time()
            if now - asked_at < seconds or task["status"] in ENDED or now >= until:
                return task

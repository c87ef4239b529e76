"""A manager's methods as attributes. Their signatures are in `signatures.pyi`."""

from typing import Any

from kaiju_tasks.client.calls import Ask
from kaiju_tasks.positional import POSITIONAL, named

__all__ = ["POSITIONAL", "Method", "Methods", "TaskMethods", "named"]


class Methods:
    """The methods with one prefix.

    :param call: `Client.call`
    """

    def __init__(self, call: Ask, prefix: str) -> None:
        self._call = call
        self._prefix = prefix

    def __getattr__(self, verb: str) -> "Method":
        if verb.startswith("_"):
            raise AttributeError(verb)
        return Method(self._call, f"{self._prefix}.{verb}")


class Method:
    """One method."""

    def __init__(self, call: Ask, name: str) -> None:
        self._call = call
        self._name = name

    def __repr__(self) -> str:
        return f"<method {self._name}>"

    async def __call__(self, *values: Any, **params: Any) -> Any:
        return await self._call(self._name, **named(self._name, values, params))


class TaskMethods(Methods):
    """`tasks.*`.

    :param wait: waits for the run of a task, with as many calls as needed
    """

    def __init__(self, call: Ask, wait: Ask) -> None:
        super().__init__(call, "tasks")
        self._wait = wait

    async def wait(self, id: str, timeout: float | None = None) -> dict[str, Any]:
        """Wait until the run of a task ends, or until the timeout.

        For a scheduled task, this is its open run or, if there is none, its next run. If the
        manager restarts, the client waits for it; see `Client`.

        :param id: id of the task
        :param timeout: seconds, 0 or more; None waits forever
        :returns: the task at the end of the wait
        :raises NotFound: the task does not exist
        :raises Unavailable: the manager does not answer for `retry_seconds`, or at the timeout
        """
        task: dict[str, Any] = await self._wait(id, timeout)
        return task

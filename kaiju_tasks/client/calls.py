"""Which calls may be made again when no answer came.

A call that never left this process may always be. After that reads may be, and what is known by an
id: a task is created, and a message sent, under an id that the client makes up where the caller
gave none. Other calls are not repeated: whether they were done is not known.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import uuid4

import msgspec

from kaiju_tasks.client.transport import Unsent
from kaiju_tasks.errors import Conflict, Unavailable
from kaiju_tasks.types import NewTask

__all__ = ["READS", "Call", "make_call"]

READS = frozenset(
    {
        "audit.list",
        "cron.preview",
        "executors.commands",
        "executors.get",
        "executors.list",
        "manager.list_active_executors",
        "notifications.get",
        "notifications.list",
        "pauses.list",
        "rpc.discover",
        "system.info",
        "tasks.count",
        "tasks.exists",
        "tasks.explain",
        "tasks.get",
        "tasks.list",
        "tasks.m_exists",
        "tasks.m_get",
        "tasks.runs",
        "tasks.stages",
        "tasks.validate",
        "tasks.wait",
    }
)

Ask = Callable[..., Awaitable[Any]]
_Fields = dict[str, Any]


class Call:
    """One call, made once or again.

    :param ask: asks the manager once
    """

    def __init__(self, ask: Ask, method: str, params: dict[str, Any]) -> None:
        self._ask = ask
        self._method = method
        self._params = params
        self._doubt: Unavailable | None = None

    async def once(self) -> Any:
        try:
            return await self._ask(self._method, self._params)
        except Unsent:
            raise
        except Unavailable as error:
            self._doubt = error
            raise

    def may_repeat(self, error: Unavailable) -> bool:
        return isinstance(error, Unsent) or self._method in READS


class _Create(Call):
    """`tasks.create` or `tasks.m_create`, of tasks that all have ids.

    :param made: the ids that the client made up
    """

    def __init__(
        self, ask: Ask, method: str, params: dict[str, Any], tasks: list[_Fields], made: set[str]
    ) -> None:
        super().__init__(ask, method, params)
        self._tasks = tasks
        self._made = made

    def may_repeat(self, error: Unavailable) -> bool:
        return True

    async def once(self) -> Any:
        try:
            created = await super().once()
        except Conflict:
            ours = None if self._doubt is None else await self._created()
            if ours is None:
                raise
            return ours
        if self._doubt is not None:
            for task in created if isinstance(created, list) else [created]:
                task["created"] = task["created"] or task["id"] in self._made
        return created

    async def _created(self) -> Any:
        """The tasks, if it was the try without an answer that created them."""
        found = await self._ask("tasks.m_get", {"ids": [task["id"] for task in self._tasks]})
        if len(found) != len(self._tasks) or not all(map(self._is_ours, self._tasks, found)):
            return None
        answers = [{**task, "created": True, "warnings": []} for task in found]
        return answers if self._method == "tasks.m_create" else answers[0]

    def _is_ours(self, sent: _Fields, found: _Fields) -> bool:
        return found["id"] in self._made or (
            _commands(sent) == _commands(found) and (sent.get("kws") or {}) == found["kws"]
        )


class _Send(Call):
    """`tasks.message`, with a `message_id`."""

    _undecided = False

    def may_repeat(self, error: Unavailable) -> bool:
        return not self._undecided

    async def once(self) -> Any:
        receipt = await super().once()
        if self._doubt is not None and not receipt["accepted"]:
            self._undecided = True  # the try without an answer may be what ended the run
            raise Unavailable(
                f"it is not known whether the message came: {self._doubt}; now it is refused: "
                f"{receipt['reason']}"
            )
        return receipt


def make_call(ask: Ask, method: str, params: dict[str, Any]) -> Call:
    """Make a call, repeatable where it can be."""
    if method in ("tasks.message", "tasks.write_message"):
        message_id = params.get("message_id")
        named = uuid4().hex if message_id is None else message_id
        return _Send(ask, method, {**params, "message_id": named})
    if method in ("tasks.create", "tasks.m_create"):
        return _make_create(ask, method, params)
    return Call(ask, method, params)


def _make_create(ask: Ask, method: str, params: dict[str, Any]) -> Call:
    many = method == "tasks.m_create"
    data = params.get("data")
    items: Any = data if many else [data]
    if not isinstance(items, list | tuple) or not all(
        isinstance(item, NewTask | Mapping) for item in items
    ):
        return Call(ask, method, params)  # the manager says what is wrong
    tasks: list[_Fields] = [dict(msgspec.to_builtins(item)) for item in items]
    made: set[str] = set()
    for task in tasks:
        if task.get("id") is None:
            task["id"] = uuid4().hex
            made.add(task["id"])
    return _Create(ask, method, {**params, "data": tasks if many else tasks[0]}, tasks, made)


def _commands(task: _Fields) -> list[_Fields]:
    return [
        {
            "method": command["method"],
            "params": command.get("params") or {},
            **{name: command.get(name) for name in ("max_timeout", "condition", "name")},
        }
        for command in task["commands"]
    ]

"""Which calls can be repeated when the manager did not answer.

A call that was never sent can always be repeated. A call that was sent can be repeated if it only
reads, or if an id identifies it: the client generates an id for each new task and message that has
none. Other calls are not repeated, because it is unknown whether the manager carried them out. Nor
is a create that replaces tasks: a task that it has replaced may have ended since, and would run a
second time.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import uuid4

import msgspec

from kaiju_tasks.client.transport import Unsent
from kaiju_tasks.errors import Conflict, Unavailable
from kaiju_tasks.reads import READS
from kaiju_tasks.types import NewTask

__all__ = ["Call", "make_call"]

Ask = Callable[..., Awaitable[Any]]
_Fields = dict[str, Any]


class Call:
    """One call, which may be repeated.

    :param ask: sends the call to the manager once
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
    """`tasks.create` or `tasks.m_create`. All of its tasks have ids.

    :param made: the ids that the client generated
    """

    def __init__(
        self, ask: Ask, method: str, params: dict[str, Any], tasks: list[_Fields], made: set[str]
    ) -> None:
        super().__init__(ask, method, params)
        self._tasks = tasks
        self._made = made

    def may_repeat(self, error: Unavailable) -> bool:
        replaces = self._params.get("on_conflict") == "replace"
        return not replaces or super().may_repeat(error)

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
        """Return the tasks if the attempt without an answer created them, otherwise None."""
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
    """`tasks.message` with a `message_id`. The task knows the id also after the end of the run."""

    def may_repeat(self, error: Unavailable) -> bool:
        return True


def make_call(ask: Ask, method: str, params: dict[str, Any]) -> Call:
    """Create the call for a method and its params."""
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
        return Call(ask, method, params)  # invalid params: the manager answers with the error
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

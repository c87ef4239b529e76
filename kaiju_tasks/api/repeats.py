"""Makes the calls of stages idempotent: a stage runs again if its report is lost, and an executor
sends a call again if its answer is lost.

Tasks, messages and bulk calls without an id get one that is derived from the key of the call.
"""

from typing import Any, TypeGuard

from kaiju_tasks.manager.bulk.actions import ACTIONS

CREATE, CREATE_MANY = "tasks.create", "tasks.m_create"
MESSAGES = frozenset({"tasks.message", "tasks.write_message"})
BULK = frozenset(ACTIONS)

Json = dict[str, Any]


def repeatable(method: str, params: Json, key: str) -> Json:
    """The params of a call that has the same effect if it is repeated.

    :param key: the same for all repetitions of the call
    """
    if method in MESSAGES and params.get("message_id") is None:
        return {**params, "message_id": key}
    if method in BULK and not params.get("ids") and params.get("bulk_id") is None:
        return {**params, "bulk_id": key}
    data = params.get("data")
    if method == CREATE and _lacks_id(data):
        return {**params, "data": {**data, "id": key}, "on_conflict": "ignore"}
    if method == CREATE_MANY and isinstance(data, list):
        return {**params, "data": [_with_id(item, f"{key}/{i}") for i, item in enumerate(data)]}
    return params


def repeated_ids(params: Json, key: str) -> tuple[list[str], str | None]:
    """The ids of the tasks that a repeatable `tasks.m_create` creates, and the first generated id.

    If a task with that generated id exists, the call has been made before, because it creates all
    tasks or none.
    """
    data = params.get("data")
    items = data if isinstance(data, list) else []
    ids = [str(item.get("id")) for item in items if isinstance(item, dict)]
    return ids, next((id_ for id_ in ids if id_.startswith(f"{key}/")), None)


def given_ids(method: str, params: Json) -> list[str]:
    """The ids of the tasks that a create makes, unless it is to replace or to ignore one that
    exists."""
    data = params.get("data")
    if params.get("on_conflict", "error") != "error":
        return []
    items = data if method == CREATE_MANY and isinstance(data, list) else [data]
    return [item["id"] for item in items if isinstance(item, dict) and type(item.get("id")) is str]


def _with_id(item: Any, id_: str) -> Any:
    return {**item, "id": id_} if _lacks_id(item) else item


def _lacks_id(item: Any) -> TypeGuard[Json]:
    return isinstance(item, dict) and item.get("id") is None

"""Every limit of a scope, at every method that it limits."""

from typing import Any

import pytest

from kaiju_tasks.errors import Forbidden, KaijuError, NotFound
from kaiju_tasks.manager import Manager
from kaiju_tasks.rights import Kind, Scope, Verb
from tests.api.test_rights import as_
from tests.manager.executors.test_identity import executor_of
from tests.manager.hand import Calls

Json = dict[str, Any]
WORK = {"method": "do.work"}
OWN: Json = {"app_name": "billing", "commands": [WORK]}
"""A task within all scopes here."""
NARROW: Json = {
    "streams": ("billing", "manager"),
    "methods": ("do.*",),
    "webhook_hosts": ("*.example.com",),
    "stages": ("tasks.get",),
}
BEYOND: dict[str, dict[str, Json]] = {
    "streams": {"app_name": {"app_name": "orders"}},
    "methods": {"commands.0.method": {"commands": [{"method": "rm"}]}},
    "webhook_hosts": {"webhook": {"webhook": {"url": "http://example.org/"}}},
    "stages": {
        "commands.0.method": {"app_name": "manager", "commands": [{"method": "tasks.list"}]}
    },
}
"""By limit and the field that an error names: changes of `OWN` that lead beyond it."""
ELSEWHERE = {
    "verbs": "test_matrix.py",
    "see_data": "test_a_viewer_sees_data_only_if_its_scope_says_so",
    "message": "test_a_message_reaches_tasks_of_others_only_by_a_grant",
    "executors": "test_an_executor_stays_within_its_scope",
    "capacity": "test_an_executor_stays_within_its_scope",
}
CHILD = "commands.0.params.create.0"


def test_every_limit_is_tested() -> None:
    assert BEYOND.keys() | ELSEWHERE.keys() == set(Scope.__struct_fields__)


def _defining(data: Json) -> dict[str, tuple[Json, str]]:
    """By method: parameters that define a task so, and the path of its first field."""
    parent = {**OWN, "commands": [{"method": "_TASKS_", "params": {"create": [data]}}]}
    return {
        "tasks.create": ({"data": data}, "data."),
        "tasks.m_create": ({"data": [OWN, data]}, "data.1."),
        "tasks.validate": ({"data": data}, "data."),
        "tasks.update": ({"id": "own", "data": data}, "data."),
        "tasks.m_update": ({"ids": ["own"], "data": data}, "data."),
        "tasks.create ": ({"data": parent}, f"data.{CHILD}."),
        "tasks.update ": ({"id": "own", "data": parent}, f"data.{CHILD}."),
    }


@pytest.mark.parametrize("limit", BEYOND)
@pytest.mark.parametrize("kind", [Kind.USER, Kind.OPERATOR, Kind.ADMIN])
async def test_no_task_is_defined_beyond_a_scope(call: Calls, kind: Kind, limit: str) -> None:
    calls = await as_(call, "ann", kind, **NARROW)
    await calls("tasks.create", data={**OWN, "id": "own"})
    for field, change in BEYOND[limit].items():
        for method, (params, path) in _defining({**OWN, **change}).items():
            with pytest.raises(KaijuError) as refused:
                await calls(method.strip(), **params)
            assert isinstance(refused.value, Forbidden), (method, refused.value)
            assert refused.value.data["field"] == f"{path}{field}", method
    assert await calls("tasks.count") == {"count": 1}
    task = await calls.get("own")
    assert (task["app_name"], task["webhook"]) == ("billing", None)
    assert [one["method"] for one in task["commands"]] == ["do.work"]


async def test_an_executor_stays_within_its_scope(manager: Manager) -> None:
    scope = {"streams": ("billing",), "executors": ("x-*",), "capacity": 3}
    for id, app, field in (("y-1", "billing", "id"), ("x-1", "orders", "app_names")):
        beyond = await executor_of(manager, id, "ex", **scope)
        with pytest.raises(Forbidden) as refused:
            await beyond.connect(app=app)
        assert refused.value.data["field"] == field
    executor = await executor_of(manager, "x-2", "ex", **scope)
    executor.capacity = 10
    await executor.connect(app="billing")
    await executor.call("manager.ping", id="x-2", capacity=50)
    session = manager.roster.session("x-2")
    assert session is not None
    assert session.capacity == 3


async def test_a_message_reaches_tasks_of_others_only_by_a_grant(call: Calls) -> None:
    bob = await as_(call, "bob", Kind.USER)
    for id in ("approval-1", "secret-1"):
        await bob.create({"method": "_MESSAGE_"}, id=id, app_name="billing")
    narrow: Json = {"streams": ("orders",)}
    for kind in (Kind.USER, Kind.OPERATOR, Kind.ADMIN):
        without = await as_(call, f"w-{kind}", kind, **narrow)
        granted = await as_(call, f"g-{kind}", kind, **narrow, message=("approval-*",))
        for calls, id in ((without, "approval-1"), (granted, "secret-1")):
            with pytest.raises(NotFound):
                await calls("tasks.message", id=id, data=1)
        receipt = await granted("tasks.message", id="approval-1", data=1)
        assert receipt["message_id"]


async def test_a_viewer_sees_data_only_if_its_scope_says_so(call: Calls) -> None:
    bob = await as_(call, "bob", Kind.USER)
    await bob("tasks.create", data={**OWN, "id": "t", "kws": {"secret": "canary"}})
    for sees in (False, True):
        viewer = await as_(call, f"v-{sees}", Kind.VIEWER, see_data=sees, verbs=(Verb.READ,))
        assert ("canary" in str(await viewer.get("t"))) is sees

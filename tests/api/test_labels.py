"""Labels: values for filters, which children inherit, and which events and runs carry."""

from typing import Any

import pytest

from kaiju_tasks.api.permission import seen_by
from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.rights import access
from kaiju_tasks.store.base import Condition
from tests.manager.events.test_events import Heard
from tests.manager.hand import Calls, HandExecutor

AT_ONCE = {"method": "_TIMER_", "params": {"timer": 0}}
MAIL = {"team": "mail", "k8s.io-env": "prod"}


async def found(call: Calls, conditions: dict[str, Any], method: str = "tasks.list") -> list[str]:
    name = "id" if method == "tasks.list" else "task_id"
    page = await call(method, conditions=conditions, sort=[name])
    return [one[name] for one in page["data"]]


async def test_tasks_are_found_by_their_labels(call: Calls) -> None:
    await call.create("work", id="a", labels=MAIL, delay=600)
    await call.create("work", id="b", labels={"team": "orders"}, delay=600)
    await call.create("work", id="c", delay=600)
    assert (await call.get("a"))["labels"] == MAIL
    assert (await call.get("c"))["labels"] == {}
    for condition, ids in (
        ("mail", ["a"]),
        (["mail", "orders"], ["a", "b"]),
        (None, ["c"]),
        (["mail", None], ["a", "c"]),
        ({"like": "or%"}, ["b"]),
        ({"gt": "mail"}, ["b"]),
        ("nobody", []),
    ):
        assert await found(call, {"label.team": condition}) == ids, condition
    assert await found(call, {"label.k8s.io-env": "prod", "label.team": "mail"}) == ["a"]
    assert await call("tasks.count", conditions={"label.team": "mail"}) == {"count": 1}
    (listed,) = (await call("tasks.list", conditions={"id": "a"}))["data"]
    assert listed["labels"] == MAIL


async def test_labels_can_be_changed_while_a_task_runs(call: Calls, executor: HandExecutor) -> None:
    await call.create("work", id="a", labels=MAIL)
    await executor.take()
    changed = await call("tasks.update", id="a", data={"labels": {"team": "orders"}})
    assert changed["labels"] == {"team": "orders"}
    assert await found(call, {"label.team": "orders"}) == ["a"]
    assert await found(call, {"label.k8s.io-env": "prod"}) == []


@pytest.mark.parametrize(
    ("labels", "field"),
    [
        ({f"k{n}": "v" for n in range(17)}, "data.labels"),
        ({"Team": "v"}, "data.labels"),
        ({"-x": "v"}, "data.labels"),
        ({"x" * 64: "v"}, "data.labels"),
        ({"team": "v" * 256}, "data.labels"),
        ({"team": 1}, "data.labels"),
        ({"team": "a\nb"}, "data.labels"),
    ],
)
async def test_wrong_labels_are_refused(call: Calls, labels: Any, field: str) -> None:
    with pytest.raises(InvalidParams) as refused:
        await call.create("work", labels=labels)
    assert str(refused.value.field).startswith(field)


@pytest.mark.parametrize("column", ["label.", "label.Team", "label.a b", "label", "label.'"])
async def test_a_condition_on_no_label_is_refused(call: Calls, column: str) -> None:
    for method in ("tasks.list", "runs.list", "tasks.count"):
        with pytest.raises(InvalidParams) as refused:
            await call(method, conditions={column: "x"})
        assert refused.value.field == f"conditions.{column}"
    with pytest.raises(InvalidParams):
        await call("notifications.list", conditions={"label.team": "x"})
    with pytest.raises(InvalidParams):
        await call("tasks.list", sort=["label.team"])


async def test_children_inherit_labels_and_keep_their_own(call: Calls) -> None:
    own = {"commands": [AT_ONCE], "id": "own", "labels": {"team": "orders"}}
    plain = {"commands": [AT_ONCE], "id": "plain"}
    hook = {"method": "_TASKS_", "params": {"create": [own, plain]}}
    await call.create(hook, id="p", labels=MAIL)
    assert (await call.get("plain"))["labels"] == MAIL
    assert (await call.get("own"))["labels"] == {"team": "orders", "k8s.io-env": "prod"}
    full = {"commands": [AT_ONCE], "id": "full", "labels": {f"k{n}": "v" for n in range(16)}}
    await call.create({"method": "_TASKS_", "params": {"create": [full]}}, labels=MAIL)
    assert (await call.get("full"))["labels"] == full["labels"]


async def test_runs_events_and_notifications_carry_labels(
    call: Calls, executor: HandExecutor
) -> None:
    heard = Heard(call.manager, Condition("label.team", "eq", "mail"))
    for id, labels in (("a", MAIL), ("b", {})):
        await call.create("work", id=id, labels=labels, notify=True)
        await executor.finish(await executor.take())
    await heard.until("finished")
    assert {event.id for event in heard.events} == {"a"}
    assert all(event.labels == MAIL for event in heard.events)
    assert await found(call, {"label.team": "mail"}, "runs.list") == ["a"]
    (run,) = (await call("runs.list", conditions={"label.team": "mail"}))["data"]
    assert run["labels"] == MAIL
    notes = (await call("notifications.list"))["data"]
    assert {note["task_id"]: note["labels"] for note in notes} == {"a": MAIL, "b": {}}


async def test_labels_select_tasks_in_bulk(call: Calls) -> None:
    for id, labels in (("a", MAIL), ("b", {})):
        await call.create("work", id=id, labels=labels, delay=600)
    done = await call("tasks.m_cancel", conditions={"label.team": "mail"})
    assert (done["done"], done["sample"]) == (1, ["a"])
    sight = seen_by(call.caller, access.READ_TASKS)
    assert await call.manager.store.count([Condition("label.team", "ne", "mail")], sight) == 1

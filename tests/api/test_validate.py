"""`tasks.validate` names all problems of a task in its order; `create` fails with the first."""

from typing import Any

import pytest

from kaiju_tasks.errors import InvalidParams
from tests.manager.hand import Calls

ECHO: dict[str, Any] = {"method": "do.echo"}


def timer(**params: Any) -> dict[str, Any]:
    return {"method": "_TIMER_", "params": params}


def message(**params: Any) -> dict[str, Any]:
    return {"method": "_MESSAGE_", "params": params}


def children(**params: Any) -> dict[str, Any]:
    return {"method": "_TASKS_", "params": params}


CASES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "types, ranges and unknown fields": (
        {
            "id": "",
            "nope": 1,
            "status": "IDLE",
            "priority": 2000,
            "max_retries": "many",
            "commands": [ECHO],
            "kws": [],
            "retry_backoff": 0.5,
            "misfire": "never",
            "group_id": 1.5,
        },
        [
            "id",
            "nope",
            "status",
            "priority",
            "max_retries",
            "kws",
            "retry_backoff",
            "misfire",
            "group_id",
        ],
    ),
    "the order is that of the task": (
        {"priority": "x", "commands": [{"method": 7}], "cron": "no"},
        ["priority", "commands.0.method", "cron"],
    ),
    "the other order": (
        {"cron": "no", "commands": [{"method": 7}], "priority": "x"},
        ["cron", "commands.0.method", "priority"],
    ),
    "no commands": ({"jitter": -1}, ["jitter", "commands"]),
    "commands that are no list": ({"commands": {}, "enabled": 1}, ["commands", "enabled"]),
    "an empty list": ({"commands": [], "enabled": 1}, ["commands", "enabled"]),
    "commands of different kinds of wrong": (
        {
            "commands": [
                5,
                {"params": []},
                {"method": "a", "max_timeout": 0, "extra": 1},
                {"method": "a b", "name": "A"},
                {"method": "a", "max_timeout": 20_000},
            ]
        },
        [
            "commands.0",
            "commands.1.params",
            "commands.1.method",
            "commands.2.max_timeout",
            "commands.2.extra",
            "commands.3.method",
            "commands.3.name",
            "commands.4.max_timeout",
        ],
    ),
    "malformed templates": (
        {
            "commands": [
                {"method": "a", "params": {"x": "[0", "y": {"z": ["ok", "[!q:1]"]}}},
                {"method": "b", "params": {"fine": "[0.x]"}},
                {"method": "c", "params": {"x": "[kws"}},
            ]
        },
        ["commands.0.params.x", "commands.0.params.y.z.1", "commands.2.params.x"],
    ),
    "malformed conditions": (
        {
            "commands": [
                {"method": "a", "condition": {"0.x": {"nope": 1}, "1.x": {}, "kws.y": 1}},
                {"method": "b", "condition": [{"0.x": {"gt": 5}}, {"0.x": []}]},
            ]
        },
        ["commands.0.condition.0.x.nope", "commands.0.condition.1.x", "commands.1.condition.1.0.x"],
    ),
    "a template and a type at once": (
        {"commands": [{"method": "a", "params": {"x": "[0"}, "condition": 5, "name": "id"}]},
        ["commands.0.params.x", "commands.0.condition", "commands.0.name"],
    ),
    "names": (
        {
            "commands": [
                {"method": "a", "name": "one"},
                {"method": "a", "name": "kws"},
                {"method": "a", "name": "one"},
            ]
        },
        ["commands.1.name", "commands.2.name"],
    ),
    "schedules": (
        {"commands": [ECHO], "cron": "61 * * * *", "every": 5, "timezone": "Mars", "delay": 1}
        | {"next_run": "soon"},
        ["cron", "every", "timezone", "delay", "next_run"],
    ),
    "a cron expression that has no date": (
        {"commands": [ECHO], "cron": "0 0 31 2 *", "timezone": "Europe/Nowhere"},
        ["cron", "timezone"],
    ),
    "hooks": (
        {
            "commands": [
                timer(timer=-1),
                timer(seconds=1),
                {**timer(timer=1), "max_timeout": 5},
                message(nme="x", name=5, other=1),
                {"method": "_WAIT_"},
                {"method": "_TIMER_", "params": None},
            ]
        },
        [
            "commands.0.params.timer",
            "commands.1.params",
            "commands.2.max_timeout",
            "commands.3.params.nme",
            "commands.3.params.name",
            "commands.3.params.other",
            "commands.4.method",
            "commands.5.params",
        ],
    ),
    "keys and webhooks": (
        {
            "concurrency": {"key": "[kws.missing]", "limit": 1},
            "commands": [ECHO],
            "unique": {"key": "[id"},
            "webhook": {"url": "http://:1/", "secret": "whsec_%%"},
        },
        ["concurrency.key", "unique.key", "webhook.url", "webhook.secret"],
    ),
    "parts of keys and webhooks": (
        {"commands": [ECHO], "concurrency": {"limit": 0}, "webhook": {"url": "ftp://a", "x": 1}},
        ["concurrency.limit", "concurrency.key", "webhook.url", "webhook.x"],
    ),
    "children": (
        {
            "id": "parent",
            "commands": [
                children(
                    create=[
                        {"commands": [{"method": "a", "params": {"x": "[0"}}], "priority": 5000},
                        {"kws": {"y": "[item"}, "commands": [timer(timer="x")], "cron": "@daily"},
                        7,
                        {"commands": [children(create=[{"commands": []}])], "nope": 1},
                    ],
                    mode="most",
                ),
                children(ids=["parent", 5]),
                children(),
                children(foreach="[0", task={"commands": [ECHO], "id": "[index", "every": 1}),
            ],
            "next_task": "nobody",
        },
        [
            "commands.0.params.create.0.commands.0.params.x",
            "commands.0.params.create.0.priority",
            "commands.0.params.create.1.kws.y",
            "commands.0.params.create.1.commands.0.params.timer",
            "commands.0.params.create.1.cron",
            "commands.0.params.create.2",
            "commands.0.params.create.3.commands.0.params.create.0.commands",
            "commands.0.params.create.3.nope",
            "commands.0.params.mode",
            "commands.1.params.ids",
            "commands.1.params.ids.1",
            "commands.2.params",
            "commands.3.params.foreach",
            "commands.3.params.task.id",
            "commands.3.params.task.every",
            "next_task",
        ],
    ),
    "commands of the manager": (
        {
            "app_name": "manager",
            "commands": [
                {"method": "tasks.nope"},
                {"method": "tasks.cancel", "params": {"idd": 1, "id": 5}},
                {"method": "tasks.cancel", "params": {"id": "[0.id]"}},
                {"method": "webhook.deliver"},
            ],
        },
        [
            "commands.0.method",
            "commands.1.params.idd",
            "commands.1.params.id",
            "commands.3.method",
        ],
    ),
}


async def wrong_fields(call: Calls, data: dict[str, Any]) -> list[str]:
    found = await call("tasks.validate", data=data)
    assert found["valid"] is False
    assert all(problem["message"] for problem in found["errors"])
    return [problem["field"].removeprefix("data.") for problem in found["errors"]]


@pytest.mark.parametrize("name", CASES)
async def test_every_problem_is_named_once_and_in_order(call: Calls, name: str) -> None:
    data, fields = CASES[name]
    assert await wrong_fields(call, data) == fields


@pytest.mark.parametrize("name", CASES)
async def test_create_fails_with_the_first(call: Calls, name: str) -> None:
    data, _ = CASES[name]
    first, *_ = (await call("tasks.validate", data=data))["errors"]
    with pytest.raises(InvalidParams) as one:
        await call("tasks.create", data=data)
    assert (one.value.data["field"], str(one.value)) == (first["field"], first["message"])
    assert (await call("tasks.count"))["count"] == 0


@pytest.mark.parametrize("name", [name for name in CASES if name != "children"])
async def test_m_create_fails_with_the_first(call: Calls, name: str) -> None:
    data, fields = CASES[name]
    with pytest.raises(InvalidParams) as many:
        await call("tasks.m_create", data=[{"commands": [ECHO]}, data])
    assert many.value.data["field"] == f"data.1.{fields[0]}"
    assert many.value.data["index"] == 1


async def test_a_task_that_is_mended_problem_by_problem_ends_up_valid(call: Calls) -> None:
    """No problem hides another one: each that is mended leaves exactly the others."""
    data, fields = CASES["types, ranges and unknown fields"]
    data = dict(data)
    for left in range(len(fields), 0, -1):
        found = await wrong_fields(call, data)
        assert found == fields[-left:]
        del data[found[0]]
    assert (await call("tasks.validate", data=data))["errors"] == []


async def test_problems_are_bounded_in_number(call: Calls) -> None:
    many = [{"method": "a", "params": {f"p{i}": "[0" for i in range(5)}} for _ in range(90)]
    assert len(await wrong_fields(call, {"commands": many})) == 100
    unknown = {f"field{i}": 1 for i in range(1000)}
    assert len(await wrong_fields(call, {**unknown, "commands": [ECHO]})) == 100
    longer = await wrong_fields(call, {"commands": [ECHO] * 101, "priority": "x"})
    assert longer == ["commands", "priority"]


async def test_warnings_are_only_of_tasks_without_problems(call: Calls) -> None:
    right = await call("tasks.validate", data={"commands": [ECHO]})
    assert right["valid"] is True
    assert right["warnings"] == ["no executor serves the stream 'default' now"]
    wrong = await call("tasks.validate", data={"commands": [ECHO], "priority": "x"})
    assert wrong["warnings"] == []


@pytest.mark.parametrize("data", [{}, {"commands": None}, {"commands": [None]}, {"": 1}])
async def test_what_is_hardly_a_task_has_problems_too(call: Calls, data: dict[str, Any]) -> None:
    assert await wrong_fields(call, data)


@pytest.mark.parametrize("data", [None, 5, "task", []])
async def test_create_of_what_is_no_task_says_so(call: Calls, data: Any) -> None:
    with pytest.raises(InvalidParams, match="`data` must be an object"):
        await call("tasks.create", data=data)


async def test_a_field_that_is_null_is_no_problem_beside_one(call: Calls) -> None:
    nulls = dict.fromkeys(("webhook", "every", "timezone", "next_run", "delay"))
    task = {**nulls, "cron": "* * * * *", "priority": 5000, "commands": [{"method": "a"}]}
    found = await call("tasks.validate", data=task)
    assert [one["field"] for one in found["errors"]] == ["data.priority"]
    fixed = {**nulls, "every": 60, "cron": None, "priority": 5000, "commands": [{"method": "a"}]}
    found = await call("tasks.validate", data=fixed)
    assert [one["field"] for one in found["errors"]] == ["data.priority"]

"""Bad input to every method: always a typed error, never a fault of the manager."""

from collections.abc import Iterator
from typing import Any

import aiohttp
import jsonschema
import pytest

from tests.system.fleet import PATIENT, Fleet, Json, ManagerProcess, call_all, command, task

VALUES: list[Any] = [
    None,
    True,
    -1,
    0.5,
    2**63,
    -(2**63),
    1e308,
    "",
    "x" * 300,
    "a\x00b",
    "\x1b[31m",
    "[kws",
    "%s' OR 1=1 --",
    [],
    [None],
    [[["deep"]]],
    {},
    {"": None},
    {"id": {}},
    {"status": {"like": 5}},
    {"commands": [{"method": "echo", "params": {"a": "[!x:eval:1]"}}]},
    {"commands": [{"method": "_TIMER_", "params": {"timer": -1}}]},
    {"commands": "echo", "cron": "* *"},
    [{"commands": []}],
]
GOOD: Json = {
    "id": "there",
    "ids": ["there"],
    "job_id": "there",
    "stage": 0,
    "timeout": 0,
    "cron": "@daily",
    "interval_days": 7,
}
"""Values for what a method requires, so that the one wrong value is reached."""
ELSEWHERE: Json = {"id": "elsewhere", "ids": ["elsewhere"]}
DELETING = {"tasks.delete", "tasks.m_delete"}
"""They are carried out with any text as their `reason`."""


@pytest.fixture
async def manager(fleet: Fleet) -> ManagerProcess:
    fleet.settings = PATIENT
    manager = await fleet.manager()
    client = fleet.client(manager)
    await call_all(client, [("tasks.create", {"data": task("there", command("x"), delay=3600)})])
    return manager


async def test_every_method_answers_bad_input_with_a_typed_error(
    fleet: Fleet, manager: ManagerProcess
) -> None:
    async with aiohttp.ClientSession() as session:

        async def post(requests: list[Json]) -> dict[int, Json]:
            async with session.post(f"{manager.url}/rpc", json=requests) as response:
                assert response.status == 200
                return {answer["id"]: answer for answer in await response.json()}

        async with session.get(f"{manager.url}/openrpc.json") as response:
            document = await response.json()
        calls = [call for method in document["methods"] for call in bad_calls(document, method)]
        assert len(document["methods"]) > 30
        wrong_answers = []
        for start in range(0, len(calls), 100):
            some = calls[start : start + 100]
            answers = await post(
                [
                    {"jsonrpc": "2.0", "id": n, "method": method, "params": params}
                    for n, (method, params, _) in enumerate(some)
                ]
            )
            assert len(answers) == len(some)
            wrong_answers += [
                (call, answers[n]) for n, call in enumerate(some) if not is_right(call, answers[n])
            ]
        assert not wrong_answers, "\n".join(map(repr, wrong_answers[:80]))
    assert "Traceback" not in manager.process.log
    there = await fleet.client(manager).tasks.get("there")
    assert there["id"] == "there"


DEFINING: dict[str, Json] = {"tasks.create": {}, "tasks.update": {"id": "there"}}
Call = tuple[str, Any, int | None]
"""Method, params, and the code of the refusal it must get; None: it may be in order."""
INVALID_REQUEST, INVALID_PARAMS, INTERNAL = -32600, -32602, -32603


def bad_calls(document: Json, method: Json) -> Iterator[Call]:
    """Each parameter wrong, missing, null; an unknown one; no object at all."""
    name, params = method["name"], method["params"]
    good = {p["name"]: GOOD[p["name"]] for p in params if p["name"] in GOOD}
    if name in DELETING:
        good |= {key: value for key, value in ELSEWHERE.items() if key in good}
    if name in DEFINING:
        yield from bad_tasks(document, name)
    yield name, [1, 2], INVALID_PARAMS
    yield name, "text", INVALID_REQUEST
    for param in params:
        if param.get("required"):
            yield name, {k: v for k, v in good.items() if k != param["name"]}, INVALID_PARAMS
        schema = {**param["schema"], "components": document["components"]}
        validator = jsonschema.Draft7Validator(schema)
        for value in VALUES:
            code = None if validator.is_valid(value) else INVALID_PARAMS
            yield name, {**good, param["name"]: value}, code
    # What executors call may carry what a later version of the protocol adds.
    unknown = None if name.startswith("manager.") else INVALID_PARAMS
    yield name, {**good, "no_such_param": 1}, unknown


def bad_tasks(document: Json, name: str) -> Iterator[Call]:
    """A task of which one field, or one field of its command, is wrong."""
    given = DEFINING[name]
    schemas = document["components"]["schemas"]
    for field, schema in schemas["NewTask"]["properties"].items():
        validator = jsonschema.Draft7Validator({**schema, "components": document["components"]})
        for value in VALUES:
            code = None if validator.is_valid(value) else INVALID_PARAMS
            data = {"commands": [{"method": "echo"}], "delay": 3600, field: value}
            yield name, {**given, "data": data}, code
    for field, schema in schemas["TaskCommand"]["properties"].items():
        validator = jsonschema.Draft7Validator({**schema, "components": document["components"]})
        for value in VALUES:
            code = None if validator.is_valid(value) else INVALID_PARAMS
            data = {"commands": [{"method": "echo", field: value}], "delay": 3600}
            yield name, {**given, "data": data}, code


def is_right(call: Call, answer: Json) -> bool:
    """A typed error, or a result where one is due."""
    error, code = answer.get("error"), call[2]
    if error is None:
        return code is None
    assert isinstance(error["data"]["type"], str)
    assert error["message"]
    return error["code"] == code if code is not None else error["code"] != INTERNAL

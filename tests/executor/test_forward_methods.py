"""The methods of a service are announced, with the schemas of their parameters."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.executor.forward import ForwardExecutor
from kaiju_tasks.executor.forward.methods import MethodsError, read_document, read_file
from kaiju_tasks.executor.process import run_executor
from kaiju_tasks.protocol import CommandInfo
from kaiju_tasks.schemas import openrpc
from tests.executor.fakes import FakeManager, assignment, command
from tests.executor.server import serving
from tests.executor.services import Service, rigged, serving_service
from tests.support.wait import wait_until

OPENRPC = {
    "openrpc": "1.3.2",
    "methods": [
        {"name": "rpc.discover", "params": []},
        {
            "name": "stock.reserve",
            "summary": "Reserve an item.",
            "params": [
                {"name": "item", "required": True, "schema": {"$ref": "#/components/schemas/Item"}},
                {"$ref": "#/components/contentDescriptors/Count"},
            ],
        },
    ],
    "components": {
        "contentDescriptors": {"Count": {"name": "count", "schema": {"type": "integer"}}},
        "schemas": {
            "Item": {"anyOf": [{"type": "string"}, {"$ref": "#/components/schemas/Set"}]},
            "Set": {"type": "array", "items": {"$ref": "#/components/schemas/Item"}},
            "Other": {"type": "null"},
        },
    },
}


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with serving_service() as service:
        yield service


def test_openrpc_gives_names_texts_and_schemas():
    (info,) = read_document(OPENRPC)
    assert (info.method, info.doc) == ("stock.reserve", "Reserve an item.")
    assert info.params == {
        "type": "object",
        "properties": {"item": {"$ref": "#/$defs/Item"}, "count": {"type": "integer"}},
        "required": ["item"],
        "additionalProperties": False,
        "$defs": {
            "Item": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/Set"}]},
            "Set": {"type": "array", "items": {"$ref": "#/$defs/Item"}},
        },
    }


def test_the_description_of_a_manager_can_be_read():
    document = openrpc()
    found = read_document(document)
    names = {method["name"] for method in document["methods"]}
    assert {info.method for info in found} == {n for n in names if not n.startswith("rpc.")}
    assert all(info.params for info in found)


@pytest.mark.parametrize(
    ("text", "infos"),
    [
        ("[a.b, c]", [CommandInfo("a.b"), CommandInfo("c")]),
        (
            "- method: a\n  doc: A.\n  params: {type: object}\n",
            [CommandInfo("a", {"type": "object"}, "A.")],
        ),
        ('{"methods": ["a"]}', [CommandInfo("a")]),
    ],
)
def test_a_file_may_be_a_list(tmp_path, text, infos):
    path = tmp_path / "methods.yaml"
    path.write_text(text)
    assert read_file(path) == infos


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (1, "neither an OpenRPC document nor a list"),
        ({}, "neither an OpenRPC document nor a list"),
        ([], "has no methods"),
        ([1], "its method 0 is neither"),
        (["a", "a"], "the method `a` twice"),
        (["_TIMER_"], "is the name of a hook"),
        (["a b"], "no spaces"),
        ([{"doc": "x"}], "it has no name"),
        (["x"] * 1001, "1,001 methods"),
    ],
)
def test_what_describes_no_methods_is_refused(document, said):
    with pytest.raises(MethodsError) as caught:
        read_document(document)
    assert said in str(caught.value)


@pytest.mark.parametrize("text", ["{", "a: b: c", "[.nan]", "\x00", "[]"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, text):
    path = tmp_path / "methods.yaml"
    path.write_text(text)
    with pytest.raises(InvalidParams, match=r"the methods in .*methods\.yaml: "):
        ForwardExecutor("app", "http://127.0.0.1:1/rpc", methods=path)
    with pytest.raises(InvalidParams, match="No such file"):
        ForwardExecutor("app", "http://127.0.0.1:1/rpc", methods=tmp_path / "none")


async def test_only_the_methods_of_a_file_are_called(service, tmp_path):
    path = tmp_path / "methods.json"
    path.write_text('["known"]')
    async with rigged(service, methods=path) as rig:
        rig.manager.run(assignment(command("unknown")))
        await wait_until(rig.manager.outcomes, "the stage ends")
        error = rig.manager.reports[-1].error
        assert error is not None
        assert error.type == "unknown_method"
        assert service.calls == []
        rig.manager.run(assignment(command("known")))
        await wait_until(lambda: service.calls, "the service is called")


@pytest.mark.parametrize(
    ("description", "methods"),
    [(OPENRPC, ["stock.reserve"]), ({"no": "methods"}, []), (None, [])],
)
async def test_a_service_that_describes_itself_is_announced_so(service, description, methods):
    service.description = description
    manager = FakeManager()
    async with serving(manager) as server:
        executor = ForwardExecutor("app", service.url)
        await run_executor(executor, [server.url], until_idle=True, handle_signals=False)
    (connect,) = manager.methods("manager.connect")
    assert [one["method"] for one in connect.get("commands", [])] == methods


async def test_new_methods_are_announced_by_a_new_connection_and_work_continues(service):
    service.description = OPENRPC
    manager = FakeManager()
    async with serving(manager) as server:
        executor = ForwardExecutor("app", service.url)
        running = asyncio.create_task(
            run_executor(executor, [server.url], handle_signals=False, restart=lambda: None)
        )
        await wait_until(lambda: manager.methods("manager.connect"), "the executor connects")
        hold = asyncio.Event()

        async def answer(request: Any) -> Any:
            await hold.wait()
            raise ConnectionError

        service.answer = answer
        manager.run(assignment(command("stock.reserve")))
        await wait_until(lambda: service.calls, "the service is called")
        executor.offer.announce([CommandInfo("new")])
        await wait_until(lambda: manager.methods("manager.connect")[1:], "it connects again")
        again = manager.methods("manager.connect")[1]
        assert [one["method"] for one in again["commands"]] == ["new"]
        assert len(again["holding"]) == 1
        hold.set()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_service_that_is_away_at_the_start_is_announced_when_it_is_back(service):
    service.description = OPENRPC
    service.there = False
    service.respond(503)
    executor = ForwardExecutor("app", service.url)
    assert executor.lifespan is not None
    async with executor.lifespan(executor) as executor.state:
        assert (executor.offer.ceiling, executor.offer.commands) == (0, ())
        service.there = True
        await wait_until(lambda: executor.offer.commands, "its methods are announced")


async def test_a_schema_that_is_too_large_or_too_deep_is_left_out(tmp_path):
    deep: Any = {}
    for _ in range(5000):
        deep = {"items": deep}
    large = {"enum": ["x" * 70_000]}
    for schema in (large, deep):
        params = [{"name": "a", "schema": schema}]
        (info,) = read_document({"methods": [{"name": "m", "params": params}]})
        assert info.params == {}


def test_any_announces_nothing():
    executor = ForwardExecutor("app", "http://127.0.0.1:1/rpc", methods="any")
    assert executor.announced() == []
    assert executor.find("whatever") is not None
    assert Path("any") != executor.announcer._source

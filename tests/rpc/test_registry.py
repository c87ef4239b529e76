import asyncio
from typing import Any

import pytest
from msgspec import Raw, Struct

from kaiju_tasks.errors import MethodNotFound, Unavailable
from kaiju_tasks.rights import EVERYTHING, Access, Kind, Principal
from kaiju_tasks.rights.access import CHANGE_TASKS, READ_TASKS, SIGNED_IN
from kaiju_tasks.rpc import NoParams, Registry
from kaiju_tasks.rpc import registry as registry_module


class Strict(Struct, forbid_unknown_fields=True):
    a: int


class Tolerant(Struct):
    a: int


class Report(Struct):
    result: Raw = Raw(b"null")


class Reports(Struct):
    reports: list[Report]


async def handler(caller: Any, params: Any) -> None:
    """Do nothing."""


def test_methods_keep_their_order_and_are_found_by_name() -> None:
    registry = Registry(lambda caller: EVERYTHING)
    registry.add("b", handler, params=Strict, access=SIGNED_IN)
    registry.add("a", handler, access=SIGNED_IN)
    assert [method.name for method in registry] == ["b", "a"]
    assert len(registry) == 2
    assert "a" in registry
    assert "c" not in registry
    assert registry.find("a").params is NoParams
    assert registry.find("b").doc == "Do nothing."


def test_a_name_is_taken_once() -> None:
    registry = Registry(lambda caller: EVERYTHING)
    registry.add("a", handler, access=SIGNED_IN)
    with pytest.raises(ValueError, match="the method a is already registered"):
        registry.add("a", handler, access=SIGNED_IN)


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(MethodNotFound, match=r"there is no method `tasks\.nope`"):
        Registry(lambda caller: EVERYTHING).find("tasks.nope")


def test_params_that_would_drop_unknown_names_must_be_said_to() -> None:
    registry = Registry(lambda caller: EVERYTHING)
    with pytest.raises(TypeError, match="forbid_unknown_fields"):
        registry.add("a", handler, params=Tolerant, access=SIGNED_IN)
    with pytest.raises(TypeError, match="forbid_unknown_fields"):
        registry.add("a", handler, params=Strict, tolerant=True, access=SIGNED_IN)
    registry.add("a", handler, params=Tolerant, tolerant=True, access=SIGNED_IN)


def test_it_is_known_which_methods_carry_bytes() -> None:
    registry = Registry(lambda caller: EVERYTHING)
    registry.add("plain", handler, params=Strict, access=SIGNED_IN)
    registry.add("carrier", handler, params=Reports, tolerant=True, access=SIGNED_IN)
    assert not registry.find("plain").carries_raw
    assert registry.find("carrier").carries_raw


class Caller:
    """A caller whose rights change while a method runs."""

    def __init__(self) -> None:
        self.principal = EVERYTHING

    async def change(self, caller: Any, params: Any) -> str:
        """Lose rights."""
        self.principal = Principal("ann", Kind.ADMIN)
        return "done"


@pytest.mark.parametrize(("access", "answered"), [(READ_TASKS, False), (CHANGE_TASKS, True)])
async def test_what_was_read_with_other_rights_is_not_answered(
    access: Access, answered: bool
) -> None:
    caller = Caller()
    registry = Registry(lambda _: caller.principal)
    registry.add("a", caller.change, access=access)
    if answered:
        assert await registry.call(caller, registry.find("a"), NoParams()) == "done"
    else:
        with pytest.raises(Unavailable):
            await registry.call(caller, registry.find("a"), NoParams())


async def test_a_principal_has_one_read_at_a_time() -> None:
    registry = Registry(lambda caller: Principal(caller, Kind.ADMIN))
    registry.add("read", handler, access=READ_TASKS)
    registry.add("wait", handler, access=READ_TASKS, waits=True)
    registry.add("write", handler, access=CHANGE_TASKS)
    reading: list[str] = []

    async def read(name: str, method: str) -> None:
        async with registry.reading(name[0], registry.find(method)):
            reading.append(name)
            await let_go.wait()

    let_go = asyncio.Event()
    asked = {"a1": "read", "a2": "read", "a3": "wait", "a4": "write", "b1": "read", "b2": "read"}
    tasks = [asyncio.create_task(read(name, method)) for name, method in asked.items()]
    for _ in range(5):
        await asyncio.sleep(0)
    assert reading == ["a1", "a3", "a4", "b1"]
    let_go.set()
    await asyncio.gather(*tasks)
    assert sorted(reading) == sorted(asked)


async def test_after_a_large_read_others_have_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry(lambda caller: Principal(caller, Kind.ADMIN))
    registry.add("read", handler, access=READ_TASKS)
    spent = iter([0.0, 1.0, 0.0, 0.0])
    monkeypatch.setattr(registry_module, "seconds_spent", lambda: next(spent))
    monkeypatch.setattr(registry_module, "REST_SECONDS_MAX", 3600.0)

    async def read(name: str) -> None:
        async with registry.reading(name, registry.find("read")):
            pass

    await read("a")
    again = asyncio.create_task(read("a"))
    await read("b")
    assert not again.done()
    again.cancel()
    await asyncio.gather(again, return_exceptions=True)

from typing import Any

import pytest
from msgspec import Raw, Struct

from kaiju_tasks.errors import MethodNotFound
from kaiju_tasks.rpc import NoParams, Registry


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
    registry = Registry()
    registry.add("b", handler, params=Strict)
    registry.add("a", handler)
    assert [method.name for method in registry] == ["b", "a"]
    assert len(registry) == 2
    assert "a" in registry
    assert "c" not in registry
    assert registry.find("a").params is NoParams
    assert registry.find("b").doc == "Do nothing."


def test_a_name_is_taken_once() -> None:
    registry = Registry()
    registry.add("a", handler)
    with pytest.raises(ValueError, match="the method a is already registered"):
        registry.add("a", handler)


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(MethodNotFound, match=r"there is no method `tasks\.nope`"):
        Registry().find("tasks.nope")


def test_params_that_would_drop_unknown_names_must_be_said_to() -> None:
    registry = Registry()
    with pytest.raises(TypeError, match="forbid_unknown_fields"):
        registry.add("a", handler, params=Tolerant)
    with pytest.raises(TypeError, match="forbid_unknown_fields"):
        registry.add("a", handler, params=Strict, tolerant=True)
    registry.add("a", handler, params=Tolerant, tolerant=True)


def test_it_is_known_which_methods_carry_bytes() -> None:
    registry = Registry()
    registry.add("plain", handler, params=Strict)
    registry.add("carrier", handler, params=Reports, tolerant=True)
    assert not registry.find("plain").carries_raw
    assert registry.find("carrier").carries_raw

"""The public enums and limits."""

import importlib
import pkgutil
from collections.abc import Iterator
from enum import Enum

import kaiju_tasks
from kaiju_tasks.types import Limit

DOCUMENTED_LIMITS = {
    "MAX_STAGES": 100,
    "MAX_RETRIES": 10,
    "MIN_T": 10,
    "DEFAULT_T": 300,
    "MAX_T": 14_400,
    "PING_INTERVAL": 30,
    "SUSPEND_AFTER_PINGS": 3,
}


def enums() -> Iterator[type[Enum]]:
    for module in pkgutil.walk_packages(kaiju_tasks.__path__, "kaiju_tasks."):
        if module.name.endswith("__main__"):
            continue
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and issubclass(value, Enum):
                yield value


def test_every_limit_has_its_name_and_value() -> None:
    assert {name: getattr(Limit, name) for name in DOCUMENTED_LIMITS} == DOCUMENTED_LIMITS
    assert DOCUMENTED_LIMITS.items() <= Limit.by_name().items()


def test_no_enum_merges_names_of_equal_value() -> None:
    found = {kind for kind in enums() if kind.__module__.startswith("kaiju_tasks")}
    assert len(found) > 10
    aliases = {kind.__name__: set(kind.__members__) - {m.name for m in kind} for kind in found}
    assert {name: merged for name, merged in aliases.items() if merged} == {}

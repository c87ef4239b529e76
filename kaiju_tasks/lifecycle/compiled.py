"""Templates and conditions as they are stored, the short ones compiled once."""

from functools import lru_cache

import msgspec

from kaiju_tasks.lifecycle.children import ChildrenHook, compile_children
from kaiju_tasks.templates import Condition, Template, compile_condition, compile_template

KEPT_BYTES = 4096
"""Longer ones would make the caches heavy."""


def compiled_params(params: bytes) -> Template:
    return (_kept_params if len(params) <= KEPT_BYTES else _params)(params)


def compiled_condition(condition: bytes) -> Condition:
    return (_kept_condition if len(condition) <= KEPT_BYTES else _condition)(condition)


def compiled_tasks(params: bytes) -> ChildrenHook:
    return (_kept_tasks if len(params) <= KEPT_BYTES else _tasks)(params)


def _params(params: bytes) -> Template:
    return compile_template(msgspec.json.decode(params))


def _condition(condition: bytes) -> Condition:
    return compile_condition(msgspec.json.decode(condition))


def _tasks(params: bytes) -> ChildrenHook:
    return compile_children(msgspec.json.decode(params))


_kept_params = lru_cache(maxsize=4096)(_params)
_kept_condition = lru_cache(maxsize=4096)(_condition)
_kept_tasks = lru_cache(maxsize=256)(_tasks)

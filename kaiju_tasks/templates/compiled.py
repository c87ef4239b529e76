"""Templates and conditions as stored and sent: JSON text. Short ones stay compiled in a cache."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from kaiju_tasks.templates.condition import compile_condition
from kaiju_tasks.templates.template import compile_template

__all__ = ["compiled_condition", "compiled_template", "compiled_with"]

T = TypeVar("T")

KEPT_BYTES = 4096
"""Longer ones would use too much memory in the caches."""


def compiled_with(compile: Callable[[Any], T], kept: int) -> Callable[[bytes], T]:
    """A function that compiles JSON text and caches the results.

    :param compile: makes an immutable object from a JSON value
    :param kept: size of the cache
    """

    def fresh(source: bytes) -> T:
        return compile(msgspec.json.decode(source))

    cached = lru_cache(maxsize=kept)(fresh)

    def compiled(source: bytes) -> T:
        return (cached if len(source) <= KEPT_BYTES else fresh)(source)

    return compiled


compiled_template = compiled_with(compile_template, 4096)
compiled_condition = compiled_with(compile_condition, 4096)

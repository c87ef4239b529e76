"""Templates and conditions as they are stored, compiled once."""

from functools import lru_cache

import msgspec

from kaiju_tasks.templates import Condition, Template, compile_condition, compile_template


@lru_cache(maxsize=4096)
def compiled_params(params: bytes) -> Template:
    return compile_template(msgspec.json.decode(params))


@lru_cache(maxsize=4096)
def compiled_condition(condition: bytes) -> Condition:
    return compile_condition(msgspec.json.decode(condition))

"""What a stage's templates read, and the templates themselves, compiled once."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Raw

from kaiju_tasks.protocol import Assignment
from kaiju_tasks.templates import (
    ANY_ROOT,
    Condition,
    Template,
    compile_condition,
    compile_template,
)

__all__ = ["Scope"]

CACHED_BYTES = 4_096

_decode = msgspec.json.decode


class Scope:
    """The data of one run: the task's own, the executor's, and results by index and name.

    :param executor_data: `Executor(data=…)`
    """

    __slots__ = ("_assignment", "_executor_data", "_results")

    def __init__(self, assignment: Assignment, executor_data: dict[str, Any]) -> None:
        self._assignment = assignment
        self._executor_data = executor_data
        self._results: dict[str, Raw] = dict(assignment.results)

    def add(self, stage: int, name: str | None, result: Raw) -> None:
        """Keep a stage's result for later templates."""
        self._results[str(stage)] = result
        if name is not None:
            self._results[name] = result

    def params(self, raw: Raw) -> Any:
        """Filled parameters, owned by the caller. Raises TemplateError."""
        source = bytes(raw)
        template = _template(source)
        if template.constant:
            return _decode(source)
        # to_builtins copies: a command may change what it is given, the cached template not.
        return msgspec.to_builtins(template.fill(self._data(template.refs)))

    def holds(self, raw: Raw) -> bool:
        """Whether a condition is met; null always is. Raises TemplateError."""
        source = bytes(raw)
        if source == b"null":
            return True
        condition = _condition(source)
        return condition.holds(self._data(condition.refs))

    def _data(self, refs: Iterable[str]) -> dict[str, Any]:
        known = _OWN | self._results.keys()
        wanted = known if ANY_ROOT in refs else known.intersection(refs)
        return {ref: self._read(ref) for ref in wanted}

    def _read(self, ref: str) -> Any:
        match ref:
            case "id":
                return self._assignment.id
            case "job_id":
                return self._assignment.job_id
            case "scheduled_at":
                return self._assignment.scheduled_at
            case "kws":
                return _decode(self._assignment.kws)
            case "executor":
                return self._executor_data
            case _:
                return _decode(self._results[ref])


_OWN = frozenset({"id", "job_id", "kws", "scheduled_at", "executor"})


def _template(source: bytes) -> Template:
    return _cached_template(source) if len(source) <= CACHED_BYTES else _new_template(source)


def _condition(source: bytes) -> Condition:
    return _cached_condition(source) if len(source) <= CACHED_BYTES else _new_condition(source)


def _new_template(source: bytes) -> Template:
    return compile_template(_decode(source))


def _new_condition(source: bytes) -> Condition:
    return compile_condition(_decode(source))


_cached_template = lru_cache(maxsize=1024)(_new_template)
_cached_condition = lru_cache(maxsize=1024)(_new_condition)

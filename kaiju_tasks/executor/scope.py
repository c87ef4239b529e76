"""Provides the data that the templates of a stage read."""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Raw

from kaiju_tasks.protocol import Assignment
from kaiju_tasks.templates import ANY_ROOT, OWN_ROOTS, compiled_condition, compiled_template

__all__ = ["Scope"]

_decode = msgspec.json.decode


class Scope:
    """The data of one run: of the task, of the executor, and results by index and name.

    :param executor_data: the `data` of the Executor
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
        """Fill parameters.

        :returns: data that the caller may change
        :raises TemplateError: a template cannot be filled
        """
        source = bytes(raw)
        template = compiled_template(source)
        if template.constant:
            return _decode(source)
        # to_builtins copies: a command may change its arguments, but not the cached template.
        return msgspec.to_builtins(template.fill(self._data(template.refs)))

    def holds(self, raw: Raw) -> bool:
        """Whether a condition holds. null always holds.

        :raises TemplateError: the condition cannot be evaluated
        """
        source = bytes(raw)
        if source == b"null":
            return True
        condition = compiled_condition(source)
        return condition.holds(self._data(condition.refs))

    def _data(self, refs: Iterable[str]) -> dict[str, Any]:
        known = OWN_ROOTS | self._results.keys()
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

"""What a stage's templates read."""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Raw

from kaiju_tasks.protocol import Assignment
from kaiju_tasks.templates import ANY_ROOT, OWN_ROOTS, compiled_condition, compiled_template

__all__ = ["Scope"]

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
        template = compiled_template(source)
        if template.constant:
            return _decode(source)
        # to_builtins copies: a command may change what it is given, the cached template not.
        return msgspec.to_builtins(template.fill(self._data(template.refs)))

    def holds(self, raw: Raw) -> bool:
        """Whether a condition is met; null always is. Raises TemplateError."""
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

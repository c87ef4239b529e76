"""The data that the templates of a stage read.

Executors that fill templates themselves and managers that fill them for executors both use this.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Raw

from kaiju_tasks.templates.compiled import compiled_condition, compiled_template
from kaiju_tasks.templates.roots import ANY_ROOT, OWN_ROOTS

__all__ = ["StageData"]

_decode = msgspec.json.decode


class StageData:
    """The data of one run: of the task, of the executor, and results by index and name.

    :param kws: JSON
    :param scheduled_at: time of the schedule's fire, UNIX seconds
    :param results: JSON of earlier stages, by index as text and by name
    :param executor: the data of the executor
    """

    __slots__ = ("_executor", "_id", "_job_id", "_kws", "_results", "_scheduled_at")

    def __init__(
        self,
        id: str,
        job_id: str,
        kws: Raw,
        scheduled_at: float | None,
        results: Mapping[str, Raw],
        executor: dict[str, Any],
    ) -> None:
        self._id = id
        self._job_id = job_id
        self._kws = kws
        self._scheduled_at = scheduled_at
        self._results: dict[str, Raw] = dict(results)
        self._executor = executor

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
                return self._id
            case "job_id":
                return self._job_id
            case "scheduled_at":
                return self._scheduled_at
            case "kws":
                return _decode(self._kws)
            case "executor":
                return self._executor
            case _:
                return _decode(self._results[ref])

"""The types of `conditions`, `sort` and `columns`, for documents. queries.py checks the values."""

from collections.abc import Iterable, Mapping
from functools import cache
from types import GenericAlias
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta

from kaiju_tasks.types import BulkState, EventName, RunOutcome, TaskStatus

__all__ = [
    "CHOICES",
    "GROUPS",
    "ISO_TIMES",
    "OPERATORS",
    "RUN_CHOICES",
    "UNIX_TIMES",
    "columns_of",
    "conditions_of",
    "sort_of",
]

ANY_LABEL = "label.*"
OPERATORS = ("gt", "ge", "lt", "le", "like")
GROUPS = ("group", "group_id")
"""Columns whose integers are stored as text."""
CHOICES: dict[str, Any] = {"status": TaskStatus, "event": EventName, "state": BulkState}
"""Columns with a fixed set of values."""
RUN_CHOICES: dict[str, Any] = {"status": RunOutcome}
"""The same, of ended runs."""
UNIX_TIMES = frozenset(
    {
        "next_run",
        "queued_at",
        "exec_deadline",
        "wait_deadline",
        "scheduled_at",
        "status_change",
        "started_at",
        "ended_at",
        "at",
        "time",
        "started",
        "ended",
    }
)
ISO_TIMES = frozenset({"created"})
"""Columns with times. Conditions on them accept UNIX seconds and ISO-8601."""
_INTEGER: Any = Annotated[int, Meta(ge=-(2**63) + 1, le=2**63 - 1)]
_NAMES = {str: "Text", int: "Integer", float: "Number", bool: "Flag"}


def conditions_of(
    what: str,
    columns: Mapping[str, type],
    choices: Mapping[str, Any] = CHOICES,
    *,
    labelled: bool = False,
) -> Any:
    """Return the type of `conditions` on these columns.

    :param what: the filtered type, for example `Task`
    :param choices: columns with a fixed set of values
    :param labelled: whether `label.KEY` is a column, too
    """
    doc = (
        "Conditions by column; all must hold. A condition is a value, a list of values of which one"
        " "
        f"must match, or an object with operators: {', '.join(OPERATORS)}."
    )
    if labelled:
        doc += " `label.KEY` is the label with this key."
        columns = {**columns, ANY_LABEL: str}
    return msgspec.defstruct(
        f"{what}Conditions",
        [(_field(name), _of_column(name, kind, choices), UNSET) for name, kind in columns.items()],
        namespace={"__doc__": doc},
        rename={_field(name): name for name in columns},
        kw_only=True,
        forbid_unknown_fields=True,
    )


def _field(column: str) -> str:
    """The name of a column as that of a field."""
    return column.replace(".", "_").replace("*", "any")


def sort_of(columns: Iterable[str]) -> Any:
    """Return the type of `sort` by these columns."""
    names = sorted(columns)
    keys = _literal(key for name in names for key in (name, f"-{name}"))
    either_way = GenericAlias(dict, (str, str))  # {"desc": "created"} or {"created": "desc"}
    return _list(keys | Annotated[either_way, Meta(min_length=1, max_length=1)])


def columns_of(fields: Iterable[str]) -> Any:
    """Return the type of `columns`, a list of these fields."""
    return _list(_literal(fields))


def _of_column(name: str, kind: type, choices: Mapping[str, Any]) -> Any:
    value: Any = choices.get(name, _INTEGER if kind is int else kind)
    label = value.__name__ if name in choices else _NAMES[kind]
    if name in GROUPS:
        value, label = str | int, "Group"
    if name in UNIX_TIMES | ISO_TIMES:
        value, label = float | str, "IsoTime" if name in ISO_TIMES else "Time"
    return value | None | _list(value | None) | _operators(label, value)


@cache
def _operators(label: str, value: Any) -> Any:
    """Return the type of the operators on a type of values. Only text has `like`."""
    text = label not in ("Integer", "Number", "Flag", "Time")
    fields = [(name, value, UNSET) for name in OPERATORS if name != "like"]
    return msgspec.defstruct(
        f"{label}Operators",
        [*fields, ("like", str, UNSET)] if text else fields,
        namespace={
            "__doc__": "At least one operator; all must hold."
            "\n\n:param like: a pattern; `%` matches any text, `_` one character; case-sensitive"
        },
        kw_only=True,
        forbid_unknown_fields=True,
    )


def _list(items: Any) -> Any:
    return GenericAlias(list, (items,))


def _literal(names: Iterable[str]) -> Any:
    return Literal.__getitem__(tuple(names))

"""What conditions and lists read of a task that is no field of it, as the statements do."""

import re
from typing import Any

import msgspec
from msgspec import Raw

from kaiju_tasks.lifecycle import Definition, Row

LABEL = "label."
"""Before the key of a label, the name of a column."""
_LABEL_KEY = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")


def label_key(column: str) -> str | None:
    """The key of a label of `label.KEY`; None for other columns."""
    key = column.removeprefix(LABEL)
    return key if column.startswith(LABEL) and _LABEL_KEY.fullmatch(key) else None


def method_of(row: Row, definition: Definition) -> str | None:
    """The method of the current stage; None if all have finished."""
    commands = definition.commands
    return commands[row.stage].method if row.stage < len(commands) else None


def error_part(error: str | None, name: str) -> Any:
    """A field of an error that is JSON; None if there is no error, or if it cannot be read."""
    return None if error is None else fields_of(error).get(name)


def fields_of(text: str | Raw) -> dict[str, Any]:
    """The fields of a stored JSON object; none if it is no JSON object."""
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError):
        return {}

"""What conditions and lists read of a task that is no field of it, as the statements do."""

import re
from typing import Any

import msgspec

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
    if error is None:
        return None
    try:
        read = msgspec.json.decode(error, type=dict[str, Any])
    except msgspec.DecodeError:
        return None
    return read.get(name)

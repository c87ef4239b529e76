"""What conditions and lists read of a task that is no field of it, as the statements do."""

from typing import Any

import msgspec

from kaiju_tasks.lifecycle import Definition, Row


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

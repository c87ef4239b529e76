"""Keeps what an executor announces about its commands within the frame in which it connects."""

import logging
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import structs

from kaiju_tasks.protocol import CommandInfo

__all__ = ["ANNOUNCED_BYTES_MAX", "fitting"]

logger = logging.getLogger("kaiju_tasks.executor")

ANNOUNCED_BYTES_MAX = 4 * 1024 * 1024
"""A manager closes the connection at a frame of 8 MiB, which has the leases, too."""
PARTS: tuple[tuple[str, str, Any], ...] = (
    ("examples", "examples", []),
    ("result", "schemas of results", {}),
    ("params", "schemas of parameters", {}),
    ("doc", "documentation", ""),
)
"""What can be left out, the least useful first: the field, its name for people, and its default."""
NAMED = 3
"""The log names so many of the commands."""

_encode = msgspec.json.Encoder().encode


def fitting(commands: Sequence[CommandInfo], most: int = ANNOUNCED_BYTES_MAX) -> list[CommandInfo]:
    """Leave out as many parts of the commands as is necessary, the largest first, and log which.

    :param most: the most bytes of all commands as JSON
    """
    found = list(commands)
    over = len(_encode(found)) - most
    for part, name, default in PARTS:
        if over > 0:
            over = _leave_out(found, over, part, name, default)
    return found


def _leave_out(found: list[CommandInfo], over: int, part: str, name: str, default: Any) -> int:
    """:returns: how many bytes are still too many; 0 or less if none"""
    sizes = [len(_encode(getattr(one, part))) for one in found]
    without = []
    for number in sorted(range(len(found)), key=lambda number: -sizes[number]):
        one = found[number]
        if over <= 0 or not getattr(one, part):
            break
        over -= sizes[number]
        found[number] = structs.replace(one, **{part: default})
        without.append(one.method)
    if without:
        names = ", ".join(without[:NAMED]) + (", …" if len(without) > NAMED else "")
        logger.warning(
            "not announced, because it is too large for a connection: the %s of %s (%s)",
            name,
            "1 command" if len(without) == 1 else f"{len(without)} commands",
            names,
        )
    return over

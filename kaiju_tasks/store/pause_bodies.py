"""Stored pauses: the text of each, and what is left of one that cannot be read."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import msgspec

from kaiju_tasks.lifecycle import OWNER, BrokenPause
from kaiju_tasks.times import iso_moment
from kaiju_tasks.types import Pause

TARGETS = ("app_name", "group", "group_id", "method", "owner")
"""A pause has at least one of them."""
NEEDED = frozenset(Pause.__struct_fields__) - {"owner"}
"""All fields are written, also those that are null. Those that were written before there was an
`owner` lack it."""


def pause_text(pause: Pause) -> str:
    """The stored text."""
    return msgspec.json.encode(pause).decode()


def pauses_of(rows: Iterable[tuple[str, str]]) -> list[Pause]:
    """Read pauses. One that cannot be read holds nothing, and does not hide the others.

    :param rows: the id and the text of each
    """
    return [_pause_of(pause_id, text) for pause_id, text in rows]


def _pause_of(pause_id: str, text: str) -> Pause:
    try:
        found = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        return _broken(pause_id, {}, str(error))
    if not isinstance(found, dict):
        return _broken(pause_id, {}, "it is not an object")
    if lacking := sorted(_needed(pause_id) - found.keys()):
        return _broken(pause_id, found, f"it lacks `{'`, `'.join(lacking)}`")
    try:
        pause = msgspec.convert(found, Pause)
    except msgspec.ValidationError as error:
        return _broken(pause_id, found, str(error))
    if problem := _contradiction(pause_id, pause):
        return _broken(pause_id, found, problem)
    return pause


def _needed(pause_id: str) -> frozenset[str]:
    return NEEDED | {"owner"} if pause_id.startswith(OWNER) else NEEDED


def _contradiction(pause_id: str, pause: Pause) -> str | None:
    """Why this is no pause that was ever added, if so: some of its values are lost."""
    if pause.id != pause_id:
        return "it has another `id`"
    if all(getattr(pause, name) is None for name in TARGETS):
        return "it names nothing that it holds"
    if (pause.cron is None) != (pause.duration is None):
        return "it has only one of `cron` and `duration`"
    if pause_id.startswith(OWNER) and pause.owner is None:
        return "it names no `owner`"
    return None


def _broken(pause_id: str, found: dict[str, Any], problem: str) -> BrokenPause:
    """What is left of a pause."""
    fields: dict[str, Any] = {"reason": "", "created": iso_moment(0.0)}
    for field in msgspec.structs.fields(Pause):
        if field.name in found:
            with suppress(msgspec.ValidationError):
                fields[field.name] = msgspec.convert(found[field.name], field.type)
    fields |= {"id": pause_id, "problem": f"the stored pause cannot be read: {problem}"}
    return BrokenPause(**fields)

"""Versions of a definition: each change of what a client has set makes the next one."""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from kaiju_tasks.lifecycle.definition import Definition, Edit
from kaiju_tasks.types import NewTask

KEPT = 100
"""The most earlier versions of a task that are kept."""
_FIELDS = frozenset(NewTask.__struct_fields__) & frozenset(Definition.__struct_fields__) - {"id"}


class Author(Struct, frozen=True):
    """Who changes a definition, and why.

    :param user_id: the principal; None if no tokens are configured
    """

    user_id: str | None = None
    reason: str | None = None


def differing(new: Definition, old: Definition) -> frozenset[str]:
    """The names of the fields of a client whose values differ."""
    return frozenset(n for n in _FIELDS if _plain(getattr(new, n)) != _plain(getattr(old, n)))


def next_version(
    new: Definition, old: Definition, changed: Iterable[str], author: Author, now: float
) -> Definition:
    """A definition as the version after another, or with its number if nothing has changed.

    :param changed: what differs: fields of the definition, and `enabled` and `next_run`
    :param now: UNIX seconds
    """
    names = sorted(name for name in changed if name in NewTask.__struct_fields__)
    if not names:
        return replace(new, created=old.created, version=old.version, edit=old.edit)
    edit = Edit(now, names, author.user_id, author.reason)
    return replace(new, created=old.created, version=old.version + 1, edit=edit)


def _plain(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))

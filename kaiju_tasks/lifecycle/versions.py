"""Versions of a definition: each change of what a client has set makes the next one."""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from kaiju_tasks.lifecycle.definition import Definition, Edit, RunEdit
from kaiju_tasks.types import NewTask

KEPT = 100
"""The most earlier versions of a task that are kept."""
RUN_EDITS_KEPT = 20
"""The most changes of an open run that its note names: the last ones."""
_FIELDS = frozenset(NewTask.__struct_fields__) & frozenset(Definition.__struct_fields__) - {"id"}


class Author(Struct, frozen=True):
    """Who changes a definition, and why.

    :param user_id: the principal; None if no tokens are configured
    """

    user_id: str | None = None
    reason: str | None = None


def differing(new: Definition, old: Definition) -> frozenset[str]:
    """The names of the fields of a client whose values differ."""
    return frozenset(n for n in _FIELDS if plain(getattr(new, n)) != plain(getattr(old, n)))


def next_version(
    new: Definition, old: Definition, changed: Iterable[str], author: Author, now: float
) -> Definition:
    """A definition as the version after another, or with its number if nothing has changed.

    :param changed: what differs: fields of the definition, and `enabled` and `next_run`
    :param now: UNIX seconds
    """
    names = sorted(name for name in changed if name in NewTask.__struct_fields__)
    version, edit = old.version, old.edit
    if names:
        version, edit = version + 1, Edit(now, names, author.user_id, author.reason)
    return replace(new, created=old.created, version=version, edit=edit, run_edits=old.run_edits)


def with_run_edit(definition: Definition, edit: RunEdit) -> Definition:
    """A definition that knows that it has changed an open run, and of earlier changes of it."""
    earlier = [one for one in definition.run_edits if one.job_id == edit.job_id]
    return replace(definition, run_edits=[*earlier, edit][-RUN_EDITS_KEPT:])


def edits_note(definition: Definition, job_id: str | None) -> str | None:
    """How a run was changed while it was open, for people; None if it was not."""
    notes = [
        f"{' and '.join(one.changed)} changed from stage {one.stage} on by rev {one.version}"
        for one in definition.run_edits
        if one.job_id == job_id
    ]
    return "; ".join(notes) or None


def plain(value: Any) -> Any:
    """A value as JSON has it, so that equal values compare as equal however they are encoded."""
    return msgspec.json.decode(msgspec.json.encode(value))

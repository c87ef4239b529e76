"""Hides which task has created another one from those who do not see it.

A task has the owner of its parent, so only callers whose streams are limited can miss the parent.
"""

import logging
from collections.abc import Iterable, Sequence, Set
from typing import Protocol, TypeVar

from msgspec.structs import replace

from kaiju_tasks.api.caller import Caller
from kaiju_tasks.api.queries import ids_in_sight
from kaiju_tasks.errors import TooManyRequests
from kaiju_tasks.rights import access, sight_of
from kaiju_tasks.store.base import Store, StoreError, TaskView
from kaiju_tasks.types import TaskEvent

__all__ = ["with_seen_parents", "without_parent", "without_unseen_parents"]


log = logging.getLogger(__name__)


class _Made(Protocol):
    parent_id: str | None


T = TypeVar("T", bound=_Made)


async def without_unseen_parents(
    store: Store, caller: Caller, views: Sequence[TaskView]
) -> list[TaskView]:
    """Tasks, without the ids of the parents that a caller does not see. It costs a read only if
    the streams of the caller are limited and one of the tasks has a parent."""
    hidden = await _unseen(store, caller, (view.definition.parent_id for view in views))
    if not hidden:
        return list(views)
    return [
        replace(view, definition=replace(view.definition, parent_id=None))
        if view.definition.parent_id in hidden
        else view
        for view in views
    ]


async def with_seen_parents(store: Store, caller: Caller, made: Sequence[T]) -> None:
    """Remove the ids of the parents that a caller does not see."""
    hidden = await _unseen(store, caller, (one.parent_id for one in made))
    for one in made:
        if one.parent_id in hidden:
            one.parent_id = None


def without_parent(event: TaskEvent) -> TaskEvent:
    """An event for those who may not see the parent of its task. Which they see is not looked up,
    because events are not held up by reads."""
    return event if event.parent_id is None else replace(event, parent_id=None)


async def _unseen(store: Store, caller: Caller, ids: Iterable[str | None]) -> Set[str | None]:
    """Which of these tasks a caller does not see. If that cannot be read, it sees none: what is
    answered may be a change that has happened, and its answer must not be an error."""
    wanted = {one for one in ids if one is not None}
    if not wanted:
        return wanted
    sight = sight_of(caller.principal, access.READ_TASKS)
    if not sight.streams:
        return frozenset()
    try:
        return wanted - await ids_in_sight(store, list(wanted), sight)
    except (StoreError, TooManyRequests) as error:
        log.warning("parents of tasks are not shown, because they cannot be read: %s", error)
        return wanted

"""Keeps conditions and sort keys from revealing tasks that a caller does not see.

The value of a column can be the id of a task in another stream. Such values are not shown, and
nothing may be compared with them either: comparisons and the order of a list would reveal them
character by character.
"""

from collections.abc import Callable, Iterable, Sequence

from kaiju_tasks.api.queries import Sort, ids_in_sight
from kaiju_tasks.errors import Forbidden
from kaiju_tasks.rights import Sight
from kaiju_tasks.store.base import Condition, Store

__all__ = ["check_comparisons", "check_sort", "seen_conditions"]

PARENT = "parent_id"
_WHOLE = frozenset({"eq", "in"})


def check_sort(sight: Sight, sort: Sort) -> None:
    """
    :raises Forbidden: a list would be in the order of ids that the caller may not see
    """
    for index, (column, _) in enumerate(sort):
        if sight.streams and column == PARENT:
            raise Forbidden(
                f"your token is limited to some streams: lists cannot be sorted by `{PARENT}`",
                field=f"sort.{index}",
            )


def check_comparisons(
    sight: Sight, conditions: Iterable[Condition], column: str = PARENT
) -> list[Condition]:
    """The conditions on a column that contains ids, if the caller may not see all of them.

    :raises Forbidden: one of them compares parts of ids, or their order
    """
    found = [one for one in conditions if one.column == column] if sight.streams else []
    for one in found:
        if one.op not in _WHOLE:
            raise Forbidden(
                f"your token is limited to some streams: `{column}` can only be compared with a "
                "value or a list of values",
                field=f"conditions.{column}.{one.op}",
            )
    return found


async def seen_conditions(
    store: Store,
    sight: Sight,
    conditions: Sequence[Condition],
    column: str = PARENT,
    task_of: Callable[[str], str | None] = lambda value: value,
) -> list[Condition]:
    """Conditions in which tasks that the caller does not see match nothing. It costs a read only
    if the streams of the caller are limited and one of the conditions names a task.

    :param task_of: the task that a value of the column names; None if it names none
    :raises Forbidden: a condition compares parts of ids, or their order
    """
    limited = check_comparisons(sight, conditions, column)
    named = {task for one in limited for value in _values(one) if (task := task_of(value))}
    if not named:
        return list(conditions)
    seen = await ids_in_sight(store, sorted(named), sight)
    return [
        Condition(column, "in", [v for v in _all_values(one) if _shown(v, task_of, seen)])
        if one in limited
        else one
        for one in conditions
    ]


def _shown(value: str | None, task_of: Callable[[str], str | None], seen: set[str]) -> bool:
    task = None if value is None else task_of(value)
    return task is None or task in seen


def _values(one: Condition) -> list[str]:
    return [value for value in _all_values(one) if value is not None]


def _all_values(one: Condition) -> list[str | None]:
    return list(one.value) if one.op == "in" else [one.value]

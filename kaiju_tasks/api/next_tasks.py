"""Checks that next tasks exist, and that they form no circle that never waits."""

from collections.abc import Iterable, Mapping, Sequence

from kaiju_tasks.api.queries import ids_in_sight
from kaiju_tasks.define import circles, hide_others, waits, without_wait
from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.lifecycle import Definition
from kaiju_tasks.rights import ALL_SIGHT, Sight
from kaiju_tasks.store.base import Store


class NextTasks:
    """The next tasks of tasks that a client sends."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def check_exists(self, target: str, sight: Sight, field: str = "data.next_task") -> None:
        """:raises InvalidParams: there is no such task in sight"""
        if not await ids_in_sight(self._store, [target], sight):
            raise _unknown(target, field)

    async def check(self, made: Mapping[str, Definition], sight: Sight) -> None:
        """Check new tasks.

        :param made: their definitions, by the path of `next_task`
        :param sight: the tasks that can be next tasks
        :raises InvalidParams: a next task does not exist, or there is a circle that never waits
        """
        if all(one.next_task is None for one in made.values()):
            return
        new = {one.id: one for one in made.values()}
        known = await self._reached(made.values())
        targets = [one.next_task for one in made.values() if one.next_task is not None]
        seen = known if sight.everything else await ids_in_sight(self._store, targets, sight)
        there = {None, *seen, *new}
        for field, one in made.items():
            if one.next_task not in there:
                raise _unknown(str(one.next_task), field)
        fields = {one.id: field for field, one in made.items()}
        await self._refuse_circles(new, known, fields, sight)

    async def check_circles(self, changed: Sequence[Definition], field: str, sight: Sight) -> None:
        """Check changed tasks.

        :param changed: their new definitions
        :param field: path of what changes
        :param sight: the tasks that an error may name
        :raises InvalidParams: there is a circle that never waits
        """
        new = {one.id: one for one in changed}
        await self._refuse_circles(
            new, await self._reached(changed), dict.fromkeys(new, field), sight
        )

    async def _reached(self, made: Iterable[Definition]) -> dict[str, str | None]:
        targets = {one.next_task for one in made if one.next_task is not None}
        return await self._store.next_tasks(targets) if targets else {}

    async def _refuse_circles(
        self,
        made: Mapping[str, Definition],
        known: Mapping[str, str | None],
        fields: Mapping[str, str],
        sight: Sight,
    ) -> None:
        for circle in circles(made, known):
            others = [one for one in circle if one not in made]
            views = await self._store.tasks(others, ALL_SIGHT, results=False) if others else {}
            definitions = {one: view.definition for one, view in views.items()}
            if not waits(circle, {**definitions, **made}):
                field = next(fields[one] for one in circle if one in made)
                seen = {one for one, d in definitions.items() if sight.sees(d.user_id, d.app_name)}
                raise _circle(hide_others(circle, made.keys() | seen), field)


def _unknown(target: str, field: str) -> InvalidParams:
    return InvalidParams(f"`{field}`: there is no task {target!r}", field=field, **_index_of(field))


def _circle(circle: list[str], field: str) -> InvalidParams:
    return InvalidParams(
        f"`{field}`: {without_wait(circle)}", field=field, circle=circle, **_index_of(field)
    )


def _index_of(field: str) -> dict[str, int]:
    """The index of the item in a list of tasks."""
    index = field.split(".")[1]
    return {"index": int(index)} if index.isdecimal() else {}

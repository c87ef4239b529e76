"""The family of a task: the tasks that created it, and those that they created."""

from collections.abc import Mapping

from kaiju_tasks.rights import Sight
from kaiju_tasks.store.base import Condition, Store, TaskQuery, TaskView
from kaiju_tasks.types import Family, FamilyMember

MEMBERS_MAX = 1_000
OLDEST_FIRST = (("created", False),)


async def family_of(store: Store, view: TaskView, sight: Sight) -> Family:
    """Read the family of a task, as far as it is seen.

    The first member is the task from which all others come: its creator, the creator of that task,
    and so on. A task whose creator is deleted or not seen is the first of its family.
    """
    first = await _first(store, view, sight)
    members = {first.row.id: _member(first, 0)}
    level, depth, more = [first.row.id], 0, False
    while level and not more:
        depth += 1
        query = TaskQuery(
            [Condition("parent_id", "in", level)],
            OLDEST_FIRST,
            limit=MEMBERS_MAX + 1 - len(members),
        )
        page = await store.find(query, sight)
        fresh = [one for one in page.tasks if one.row.id not in members]
        more = page.cut or len(members) + len(fresh) > MEMBERS_MAX
        level = []
        for one in fresh[: MEMBERS_MAX - len(members)]:
            level.append(one.row.id)
            members[one.row.id] = _member(one, depth)
    return Family(list(members.values()), more)


async def _first(store: Store, view: TaskView, sight: Sight) -> TaskView:
    passed = {view.row.id}
    while (parent_id := view.definition.parent_id) is not None and parent_id not in passed:
        found: Mapping[str, TaskView] = await store.tasks([parent_id], sight, results=False)
        if parent_id not in found:
            break
        view = found[parent_id]
        passed.add(parent_id)
    return view


def _member(view: TaskView, depth: int) -> FamilyMember:
    row, definition = view.row, view.definition
    return FamilyMember(
        id=row.id,
        parent_id=definition.parent_id,
        depth=depth,
        app_name=row.app_name,
        status=row.status,
        status_reason=row.reason,
        stage=row.stage,
        stages=row.stages,
        exit_code=row.exit_code,
        since=row.since,
        next_task=definition.next_task,
    )

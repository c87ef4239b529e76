"""`tasks.*`"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import msgspec

from kaiju_tasks.api.awaited import Awaited
from kaiju_tasks.api.caller import Caller
from kaiju_tasks.api.explain import Explainer
from kaiju_tasks.api.family import family_of
from kaiju_tasks.api.known import KnownMethods
from kaiju_tasks.api.next_tasks import NextTasks
from kaiju_tasks.api.params import (
    ConditionsParams,
    Count,
    CreatedTask,
    CreateManyParams,
    CreateParams,
    Deleted,
    DeletedCount,
    DeleteOldParams,
    FewIdsParams,
    IdParams,
    IdsParams,
    ListParams,
    MessageParams,
    OperateParams,
    Problem,
    RestartFromParams,
    RunsParams,
    StagesParams,
    SuspendParams,
    UpdateManyParams,
    UpdateParams,
    ValidateParams,
    Validation,
    VersionsParams,
    WaitParams,
)
from kaiju_tasks.api.parents import with_seen_parents, without_unseen_parents
from kaiju_tasks.api.permission import (
    COMMANDS_OF,
    check_change,
    check_definition,
    check_unscheduled,
    may_see_data,
    permitted,
    seen_by,
)
from kaiju_tasks.api.queries import (
    Sort,
    ids_in_sight,
    read_after,
    read_conditions,
    read_sort,
    write_cursor,
)
from kaiju_tasks.api.review import review
from kaiju_tasks.api.revisions import if_version, stage_of
from kaiju_tasks.api.shared_views import SharedViews
from kaiju_tasks.api.stage_methods import StageMethods
from kaiju_tasks.api.unseen import check_sort, seen_conditions
from kaiju_tasks.api.views import (
    LIST_FIELDS,
    PARTS,
    TASK_FIELDS,
    column_value,
    hide_data,
    inbox_entry,
    open_run,
    task_columns,
    task_view,
    version_view,
)
from kaiju_tasks.define import (
    PROBLEMS_MAX,
    Defined,
    Surroundings,
    as_before,
    define,
    read_new_task,
    redefine,
    succeed,
    task_problems,
)
from kaiju_tasks.errors import (
    Conflict,
    InvalidParams,
    NotFound,
    QuotaExceeded,
    TooLarge,
    Unavailable,
)
from kaiju_tasks.lifecycle import (
    Author,
    Cancel,
    Cause,
    Definition,
    Delete,
    Event,
    MessageCame,
    Reset,
    RestartFrom,
    Resume,
    RunNow,
    Step,
    Suspend,
    TaskState,
    Update,
    descend,
    differences,
    inherit_labels,
    refuses,
)
from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.audit import audited
from kaiju_tasks.manager.events.waiters import Watch
from kaiju_tasks.manager.writing.account import OPEN_TASKS
from kaiju_tasks.manager.writing.entries import (
    AlreadyExists,
    Draft,
    Duplicate,
    EventSource,
    Witness,
)
from kaiju_tasks.rights import ALL_SIGHT, Access, Kind, access
from kaiju_tasks.rpc import convert
from kaiju_tasks.store.base import Standing, StoreError, TaskQuery, TaskView
from kaiju_tasks.types import (
    ENDED,
    AuditRecord,
    Explanation,
    Family,
    Id,
    InboxEntry,
    MessageReceipt,
    NewTask,
    Run,
    StageRecord,
    Task,
    TaskCommand,
    TaskList,
    TaskVersion,
)

log = logging.getLogger(__name__)

DAY_SECONDS = 86_400.0
DUPLICATE_TRIES = 5
Operation = OperateParams | SuspendParams | RestartFromParams | UpdateParams


class TasksApi:
    """The methods on tasks."""

    def __init__(self, manager: Manager, known: KnownMethods, own: StageMethods) -> None:
        self._manager = manager
        self._committer = manager.committer
        self._store = manager.store
        self._shared = SharedViews(manager.store)
        self._dice = manager.dice
        self._known = known
        self._own = own
        self._next_tasks = NextTasks(manager.store)

    # -- creating --------------------------------------------------------------------------

    async def create(self, caller: Caller, params: CreateParams) -> CreatedTask:
        """Create a task. It starts at its scheduled time, or now.

        `created` of the result is true if this call created the task. It is not a time.
        """
        try:
            defined = await self.checked(params.data, caller)
        except InvalidParams as exc:
            raise (await self._problems(params.data, caller, exc))[0] from None
        warnings = await self._warnings(defined, params.strict)
        labels = {} if caller.cause is None else await self._labels(caller.cause)
        draft = self._draft(defined, caller, labels)
        for _ in range(DUPLICATE_TRIES):
            try:
                step = await self._make(caller, draft, params.data)
            except AlreadyExists:
                task = await self._existing(caller, params, defined.definition.id)
                return _created(task, False, warnings)
            except Duplicate as exc:
                holder = (await self._store.tasks([exc.holder], ALL_SIGHT)).get(exc.holder)
                if holder is None:  # deleted since
                    continue
                if not _sees(caller, holder.definition):
                    raise _duplicate(None, None) from None
                if refuses(defined.definition, holder.definition):
                    raise _duplicate(exc.holder, holder) from None
                warnings += _reuse_warnings(defined.definition, holder.definition, "data")
                return _created(await self._shown(caller, holder), False, warnings)
            view = _new_view(step, draft)
            if view is None:
                view = (await self._read_back([(step, draft.definition)]))[step.row.id]
            return _created(await self._shown(caller, view), True, warnings)
        raise Unavailable("the tasks that hold the unique key change too often: try again")

    async def _make(self, caller: Caller, draft: Draft, data: Any) -> Step:
        """
        :raises AlreadyExists: the id is taken
        :raises Duplicate: another task holds the unique key
        :raises QuotaExceeded: the task would be a new one, which the caller may not create
        """
        try:
            await self._committer.accounts.admit(caller.user_id)
            return await self._committer.create(draft)
        except QuotaExceeded:
            if (other := await self._in_its_place(draft, data)) is not None:
                raise other from None
            raise

    async def _in_its_place(self, draft: Draft, data: Any) -> AlreadyExists | Duplicate | None:
        """The task that stands in the place of a new one, as the error of its creation. None: it
        would be created, if the quotas allowed it."""
        if await self._taken_ids([data]):
            return AlreadyExists(draft.definition.id)
        holder = await self._committer.holder(draft)
        return None if holder is None else Duplicate(holder, draft.definition.id)

    async def _taken_ids(self, items: Sequence[Any]) -> set[str]:
        """Those ids that a caller has given to new tasks which exist already."""
        given = [id for item in items if isinstance(item, dict) and (id := item.get("id"))]
        return set(await self._store.tasks(given, ALL_SIGHT, results=False)) if given else set()

    async def _existing(self, caller: Caller, params: CreateParams, task_id: str) -> Task:
        seen = seen_by(caller, access.CHANGE_TASKS)
        if not seen.everything and not await self._store.tasks([task_id], seen, results=False):
            raise _taken(task_id, None, field="data.id")
        if params.on_conflict == "replace":
            reason = params.reason
            audit = self._audit(caller, "create", task_id, on_conflict="replace", reason=reason)
            author = Author(caller.user_id, reason)
            replacement = self._replacement(caller, read_new_task(params.data), author)
            change = permitted(caller, access.CHANGE_TASKS, replacement)
            await self._committer.apply(task_id, change, audit=audit)
        task = await self._task(caller, task_id, access.CHANGE_TASKS)
        if params.on_conflict == "error":
            raise Conflict(
                f"a task with the id {task_id!r} exists already; "
                '`on_conflict` "ignore" returns it, "replace" redefines it',
                status=task.status,
                field="data.id",
                id=task_id,
            )
        return task

    def _replacement(
        self, caller: Caller, new: NewTask, author: Author
    ) -> Callable[[TaskState], Event]:
        now = self._manager.clock.now()

        def build(state: TaskState) -> Event:
            defined = self._define_at(new, now, caller)
            changed = succeed(defined.definition, state.definition)
            check_change(caller.principal, state.definition, changed)
            check_unscheduled(caller.principal, state, defined.definition)
            _narrow(caller, state.definition, defined.definition, changed)
            next_run = defined.next_run
            if state.row.status in ENDED and not defined.definition.scheduled:
                next_run = now if next_run is None else next_run
            return self._update(author, caller.cause, defined, changed, next_run)

        return build

    async def m_create(self, caller: Caller, params: CreateManyParams) -> list[CreatedTask]:
        """Create tasks, all or none. `error.data.index` is the index of the invalid task."""
        made: list[Defined] = []
        seen: dict[str, int] = {}
        for index, item in enumerate(params.data):
            prefix = f"data.{index}"
            with _of_item(index):
                defined = self._define(item, caller, prefix)
                if seen.setdefault(defined.definition.id, index) != index:
                    raise InvalidParams(
                        f"`{prefix}.id` {defined.definition.id!r} is given twice",
                        field=f"{prefix}.id",
                    )
            made.append(defined)
        await self._next_tasks.check(
            {f"data.{i}.next_task": one.definition for i, one in enumerate(made)},
            seen_by(caller, access.OPERATE_TASKS),
        )
        warnings = [
            await self._warnings(one, params.strict, index) for index, one in enumerate(made)
        ]
        labels = {} if caller.cause is None else await self._labels(caller.cause)
        drafts = [self._draft(defined, caller, labels) for defined in made]
        keyed = any(draft.definition.unique_key is not None for draft in drafts)
        try:
            try:
                await self._committer.accounts.admit(caller.user_id, len(drafts))
            except QuotaExceeded:
                if not keyed:  # otherwise only the transaction knows which are new
                    raise
            outcomes = await self._committer.create_all(drafts, partial(_sees, caller))
        except QuotaExceeded as exc:
            if taken := await self._taken_ids(params.data):
                index = min(seen[task_id] for task_id in taken)
                raise await self._taken(caller, made[index].definition.id, index) from None
            if exc.data["quota"] == OPEN_TASKS and not keyed:  # the first that finds no room
                exc.data["index"] = max(0, int(exc.data["limit"] - exc.data["used"]))
            raise
        except AlreadyExists as exc:
            index = min(seen[task_id] for task_id in exc.args)
            raise await self._taken(caller, made[index].definition.id, index) from None
        except Duplicate as exc:
            found = await self._store.tasks([exc.holder], ALL_SIGHT, results=False)
            view = found.get(exc.holder)
            if view is not None and not _sees(caller, view.definition):
                raise _duplicate(None, None, seen[exc.task_id]) from None
            raise _duplicate(exc.holder, view, seen[exc.task_id]) from None
        ids = [one.holder if isinstance(one, Duplicate) else one.row.id for one in outcomes]
        views = {
            one.row.id: _new_view(one, draft)
            for one, draft in zip(outcomes, drafts, strict=True)
            if isinstance(one, Step)
        }
        tasks = {task_id: view for task_id, view in views.items() if view is not None}
        changed = [
            (one, draft.definition)
            for one, draft in zip(outcomes, drafts, strict=True)
            if isinstance(one, Step) and one.row.id not in tasks
        ]
        if changed:
            tasks |= await self._read_back(changed)
        if unseen := [task_id for task_id in ids if task_id not in tasks]:
            tasks |= await self._store.tasks(unseen, seen_by(caller, access.CHANGE_TASKS))
        for index, (outcome, draft) in enumerate(zip(outcomes, drafts, strict=True)):
            if isinstance(outcome, Duplicate) and outcome.holder in tasks:
                holder = tasks[outcome.holder].definition
                warnings[index] += _reuse_warnings(draft.definition, holder, f"data.{index}")
        known = list(tasks.values())
        shown = dict(zip(tasks, await self._all_shown(caller, known), strict=True))
        return [
            _created(shown[task_id], isinstance(outcome, Step), found)
            for found, outcome, task_id in zip(warnings, outcomes, ids, strict=True)
            if task_id in shown
        ]

    async def _taken(self, caller: Caller, task_id: str, index: int) -> Conflict:
        seen = seen_by(caller, access.CHANGE_TASKS)
        view = (await self._store.tasks([task_id], seen, results=False)).get(task_id)
        status = None if view is None else view.row.status
        return _taken(task_id, status, field=f"data.{index}.id", index=index)

    async def validate(self, caller: Caller, params: ValidateParams) -> Validation:
        """Check a task as `tasks.create` does, without creating it.

        The result lists all problems in the order of the task's fields, at most 100; `tasks.create`
        fails with the first. Executors and quotas are only checked if the task itself is valid.
        """
        try:
            defined = await self.checked(params.data, caller)
        except InvalidParams as exc:
            wrong = await self._problems(params.data, caller, exc)
            return Validation(False, [Problem(one.field, str(one)) for one in wrong], [])
        found = await review(self._known, defined, strict=params.strict)
        problems = found.problems[:PROBLEMS_MAX]
        try:
            await self._committer.accounts.admit(caller.user_id)
        except QuotaExceeded as exc:
            draft = Draft(defined.definition, job_id=self._dice.new_id(), rev=self._dice.rev())
            if await self._in_its_place(draft, params.data) is None:
                problems = [*problems[: PROBLEMS_MAX - 1], Problem(None, str(exc))]
        return Validation(not problems, problems, found.warnings)

    async def _warnings(
        self, defined: Defined, strict: bool, index: int | None = None
    ) -> "list_[str]":
        prefix = "data" if index is None else f"data.{index}"
        with _of_item(index):
            return (await review(self._known, defined, strict=strict, prefix=prefix)).accepted()

    async def checked(self, data: Any, caller: Caller) -> Defined:
        """Check and define a new task of a caller.

        :raises InvalidParams: there are problems; this is one of them
        :raises Forbidden: the caller has not the right to what the task does
        """
        defined = self._define_at(read_new_task(data), self._manager.clock.now(), caller)
        if defined.definition.next_task is not None:
            seen = seen_by(caller, access.OPERATE_TASKS)
            await self._next_tasks.check({"data.next_task": defined.definition}, seen)
        return defined

    async def _problems(
        self, data: Any, caller: Caller, first: InvalidParams
    ) -> "list_[InvalidParams]":
        """:param first: the problem that was found first, which may be one of the whole task"""
        known: dict[str, InvalidParams] = {}
        target = _next_task(data) if isinstance(data, dict) else None
        if target is not None and target != data.get("id"):
            try:
                seen = seen_by(caller, access.OPERATE_TASKS)
                await self._next_tasks.check_exists(target, seen)
            except InvalidParams as exc:
                known["next_task"] = exc
        return list(task_problems(data, self._surroundings(caller), known=known)) or [first]

    def _define(self, data: Any, caller: Caller, prefix: str) -> Defined:
        """:raises InvalidParams: the first problem of one of several tasks"""
        try:
            new = read_new_task(data, prefix)
            return self._define_at(new, self._manager.clock.now(), caller, prefix)
        except InvalidParams as exc:
            found = task_problems(data, self._surroundings(caller), prefix=prefix)
            raise next(found, exc) from None

    def _surroundings(self, caller: Caller) -> Surroundings:
        return Surroundings(
            new_id=self._dice.new_id(),
            default_app=self._manager.settings.default_app_name,
            user_id=caller.user_id,
            also=self._own.problems,
        )

    def _define_at(self, new: NewTask, now: float, caller: Caller, prefix: str = "data") -> Defined:
        defined = define(
            new,
            now=now,
            new_id=self._dice.new_id(),
            default_app=self._manager.settings.default_app_name,
            user_id=caller.user_id,
            prefix=prefix,
        )
        defined.definition.token_id = caller.principal.token_id
        self._check_own(defined, prefix)
        check_definition(caller.principal, defined, prefix)
        return defined

    def _check_own(self, defined: Defined, prefix: str = "data") -> None:
        self._own.check(defined.definition, prefix)
        for place, child in defined.children:
            self._own.check(child, f"{prefix}.{place}")

    async def _labels(self, cause: Cause) -> Mapping[str, str]:
        """The labels that the tasks of a caller inherit: those of the task whose stage it is."""
        parent = (await self._store.tasks([cause.by], ALL_SIGHT, results=False)).values()
        return next((view.definition.labels for view in parent), {})

    def _draft(self, defined: Defined, caller: Caller, labels: Mapping[str, str]) -> Draft:
        """:param labels: those of the task whose stage the caller is"""
        if caller.cause is not None:
            most = self._manager.settings.max_family_depth
            descend(defined.definition, caller.cause, most)
            inherit_labels(defined.definition, labels)
        return Draft(
            defined.definition,
            job_id=self._dice.new_id(),
            rev=self._dice.rev(),
            enabled=defined.enabled,
            next_run=defined.next_run,
            fence=caller.fence,
        )

    # -- reading -----------------------------------------------------------------------------

    async def _task(self, caller: Caller, task_id: str, needs: Access = access.READ_TASKS) -> Task:
        return await self._shown(caller, await self._view(caller, task_id, needs=needs))

    async def _view(
        self,
        caller: Caller,
        task_id: str,
        *,
        results: bool = True,
        needs: Access = access.READ_TASKS,
    ) -> TaskView:
        seen = seen_by(caller, needs)
        views = await self._store.tasks([task_id], seen, results=results)
        if task_id not in views:
            raise NotFound(f"there is no task {task_id!r}", id=task_id)
        return views[task_id]

    async def _shown(self, caller: Caller, view: TaskView) -> Task:
        """A task with what the caller may see of it."""
        [task] = await self._all_shown(caller, [view])
        return task

    async def _all_shown(self, caller: Caller, views: Sequence[TaskView]) -> "list_[Task]":
        """Tasks with what the caller may see of them."""
        data = may_see_data(caller)
        seen = await without_unseen_parents(self._store, caller, views)
        return [task_view(view, data=data) for view in seen]

    async def get(self, caller: Caller, params: IdParams) -> Task:
        """Get a task."""
        return await self._task(caller, params.id)

    async def m_get(self, caller: Caller, params: IdsParams) -> list[Task]:
        """Get tasks in the order of `ids`. Unknown ids are left out."""
        views = await self._store.tasks(params.ids, seen_by(caller, access.READ_TASKS))
        found = [views[task_id] for task_id in params.ids if task_id in views]
        return await self._all_shown(caller, found)

    async def exists(self, caller: Caller, params: IdParams) -> bool:
        """Return whether a task with this id exists."""
        return bool(await self._seen_ids(caller, [params.id]))

    async def m_exists(self, caller: Caller, params: IdsParams) -> "list_[str]":
        """Return the ids of existing tasks, in the order of `ids`."""
        known = await self._seen_ids(caller, params.ids)
        return [task_id for task_id in dict.fromkeys(params.ids) if task_id in known]

    async def _seen_ids(self, caller: Caller, ids: Sequence[str]) -> set[str]:
        """Which of these tasks exist, without their definitions."""
        return await ids_in_sight(self._store, ids, seen_by(caller, access.READ_TASKS))

    async def count(self, caller: Caller, params: ConditionsParams) -> Count:
        """Count tasks."""
        seen = seen_by(caller, access.READ_TASKS)
        conditions = read_conditions(params.conditions)
        conditions = await seen_conditions(self._store, seen, conditions)
        return Count(await self._store.count(conditions, seen))

    async def list(self, caller: Caller, params: ListParams) -> TaskList:
        """List tasks by pages.

        A page of large tasks can have fewer than `limit`: only `cursor` says whether more follow.
        """
        sort = read_sort(params.sort)
        columns = _columns(params.columns)
        seen = seen_by(caller, access.READ_TASKS)
        check_sort(seen, sort)
        conditions = read_conditions(params.conditions)
        page = await self._store.find(
            TaskQuery(
                conditions=await seen_conditions(self._store, seen, conditions),
                sort=sort,
                offset=params.offset,
                limit=params.limit,
                after=read_after(params.cursor, params.offset, sort),
                with_results="result" in columns,
                with_progress="progress" in columns,
            ),
            seen,
        )
        full = page.cut or len(page.tasks) == params.limit
        cursor = _cursor_after(page.tasks[-1], sort) if full else None
        return TaskList(
            [
                _shown_columns(caller, view, columns)
                for view in await without_unseen_parents(self._store, caller, page.tasks)
            ],
            page.total,
            params.offset,
            cursor,
            True if page.more else msgspec.UNSET,
        )

    async def runs(self, caller: Caller, params: RunsParams) -> "list_[Run]":
        """List the runs of a task, newest first: the open run, the ended runs, the missed fires."""
        view = await self._view(caller, params.id, results=False)
        seen = seen_by(caller, access.READ_TASKS)
        ended = await self._store.runs(params.id, seen, params.limit)
        current = open_run(view.row, view.definition)
        # No run is open, or it has ended between the two reads.
        over = current is None or any(run.job_id == current.job_id for run in ended)
        runs = ended if current is None or over else [current, *ended][: params.limit]
        if not caller.principal.sees_data:
            hide_data(runs)
        return runs

    async def versions(self, caller: Caller, params: VersionsParams) -> "list_[TaskVersion]":
        """List the versions of a task's definition, newest first.

        At most 100 earlier versions are kept, and only as long as runs that have used them. Fewer
        than `limit` may be listed of large versions, and of a task that was in a stream that the
        caller may not see: `before` lists those that follow.
        """
        view = await self._view(caller, params.id, results=False)
        current, before = view.definition.version, params.before
        listed = [view.definition] if before is None or before > current else []
        listed += await self._store.versions(
            params.id,
            seen_by(caller, access.READ_TASKS),
            before=min(current, before or current),
            limit=params.limit,
        )
        data = caller.principal.sees_data
        return [version_view(view.row, one, data=data) for one in listed[: params.limit]]

    async def stages(self, caller: Caller, params: StagesParams) -> "list_[StageRecord]":
        """List the ended attempts of the stages of a run, oldest first."""
        seen = seen_by(caller, access.READ_TASKS)
        records = await self._store.stage_records(params.job_id, seen)
        if not caller.principal.sees_data:
            hide_data(records)
        return records

    async def wait(self, caller: Caller, params: WaitParams) -> Task:
        """Wait until the run of a task ends, or until the timeout, and return the task.

        For a scheduled task, this is its open run or, if there is none, its next run.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + params.timeout
        with self._manager.waiters.watch(params.id) as watch:
            view = await self._watched(caller, params.id, watch)
            awaited = Awaited(view, params.seen)
            while not (awaited.over(view) or caller.gone) and (left := until - loop.time()) > 0:
                await watch.wait(left)
                watch.clear()
                view = await self._watched(caller, params.id, watch)
        return await self._shown(caller, view)

    async def _watched(self, caller: Caller, task_id: str, watch: Watch) -> TaskView:
        """Read a task, to be read again when it, or what the caller may see, has changed."""
        principal = caller.principal
        view = await self._shared.get(task_id, seen_by(caller, access.READ_TASKS))
        if view is None:
            raise NotFound(f"there is no task {task_id!r}", id=task_id)

        def is_outdated() -> bool:
            return caller.gone or caller.principal is not principal

        watch.saw(Standing.of(view.row), is_outdated)
        return view

    async def explain(self, caller: Caller, params: IdParams) -> Explanation:
        """Explain why a task is not running now, for people and programs."""
        view = await self._view(caller, params.id, results=False)
        return await self._explainer(caller).explain(view)

    async def m_explain(self, caller: Caller, params: FewIdsParams) -> "list_[Explanation]":
        """Explain tasks as `tasks.explain` does, in the order of `ids`, without unknown ids."""
        sight = seen_by(caller, access.READ_TASKS)
        views = await self._store.tasks(params.ids, sight, results=False)
        explainer = self._explainer(caller)
        ids = [task_id for task_id in dict.fromkeys(params.ids) if task_id in views]
        return [await explainer.explain(views[task_id]) for task_id in ids]

    async def inbox(self, caller: Caller, params: IdParams) -> "list_[InboxEntry]":
        """List the messages that the open or the next run has received, in order of arrival.

        They are deleted when the run ends.
        """
        await self._view(caller, params.id, results=False)
        found = await self._store.inbox(params.id, seen_by(caller, access.READ_TASKS))
        return [inbox_entry(message, data=caller.principal.sees_data) for message in found]

    async def family(self, caller: Caller, params: IdParams) -> Family:
        """List the tasks by whose stages a task was created, and all that these have created.

        Parents come before the tasks that they created. At most 1,000 tasks are listed.
        """
        view = await self._view(caller, params.id, results=False)
        family = await family_of(self._store, view, seen_by(caller, access.READ_TASKS))
        await with_seen_parents(self._store, caller, family.data)
        return family

    def _explainer(self, caller: Caller) -> Explainer:
        sight = seen_by(caller, access.READ_TASKS)
        return Explainer(self._store, sight, data=caller.principal.sees_data)

    # -- changing ----------------------------------------------------------------------------

    async def _operate(
        self,
        caller: Caller,
        action: str,
        params: Operation,
        event: EventSource,
        needs: Access = access.OPERATE_TASKS,
        **data: Any,
    ) -> Task:
        """Apply an operator's action and write its audit record.

        :param needs: what the caller must be allowed to do with the task
        :param data: data of the record
        """
        audit = self._audit(caller, action, params.id, reason=params.reason, **data)
        change = Witness(permitted(caller, needs, event))
        step = await self._committer.apply(params.id, change.event, audit=audit)
        changed = (step, step.definition or change.definition)
        return await self._shown(caller, (await self._read_back([changed]))[params.id])

    async def _read_back(self, changed: Sequence[tuple[Step, Definition]]) -> dict[str, TaskView]:
        """Tasks that this call has changed, by id. What cannot be read is as it was written: the
        answer must not be an error, because the change has happened.

        :param changed: their steps, with their definitions after the change
        """
        try:
            found = await self._store.tasks([step.row.id for step, _ in changed], ALL_SIGHT)
        except (StoreError, TooLarge) as error:
            log.warning("tasks have changed, but cannot be read: %s", error)
            found = {}
        views = {step.row.id: TaskView(step.row, definition, []) for step, definition in changed}
        for task_id, written in views.items():
            view = found.get(task_id)
            if view is not None and view.definition.user_id == written.definition.user_id:
                views[task_id] = view
        return views

    def _audit(
        self, caller: Caller, action: str, task_id: str | None = None, **data: Any
    ) -> AuditRecord:
        return caller.audit(self._dice.new_id(), f"tasks.{action}", task_id, **data)

    async def update(self, caller: Caller, params: UpdateParams) -> Task:
        """Update fields of a task.

        During a run, `app_name`, `unique` and `concurrency` cannot be changed. `commands` and `kws`
        can, while the task is suspended or waits at a hook, from the next stage on. Other fields
        take effect at the next transition. With `if_rev`, a change by somebody else is
        never overwritten: `error.data` then has the current `rev`, and who made it and when.
        """
        await self._check_next_task_of(caller, [params.id], params.data)
        author = Author(caller.user_id, params.reason)
        change, fields = self._change(caller, params.data, author), sorted(params.data)
        needs = access.CHANGE_TASKS
        if params.if_rev is not None:
            change = if_version(params.if_rev, change)
        return await self._operate(caller, "update", params, change, needs, fields=fields)

    async def m_update(self, caller: Caller, params: UpdateManyParams) -> "list_[Task]":
        """Update the same fields of several tasks, all or none. Unknown ids are left out.

        The result has the tasks in the order of `ids`. If a task does not allow the change,
        `error.data.id` is its id.
        """
        ids = list(dict.fromkeys(params.ids))
        await self._check_next_task_of(caller, ids, params.data)
        seen = seen_by(caller, access.CHANGE_TASKS)
        known = await self._store.tasks(ids, seen)
        if not known:
            self._check_change(params.data)
        if not seen.everything:
            ids = [task_id for task_id in ids if task_id in known]
        author = Author(caller.user_id, params.reason)
        change = permitted(caller, access.CHANGE_TASKS, self._change(caller, params.data, author))
        details = {"fields": sorted(params.data), "reason": params.reason}
        await self._committer.apply_together(
            [(task_id, change) for task_id in ids],
            audits=[self._audit(caller, "m_update", task_id, **details) for task_id in ids],
        )
        views = await self._store.tasks(ids, seen)
        found = [views[task_id] for task_id in ids if task_id in views]
        return await self._all_shown(caller, found)

    def _check_change(self, data: dict[str, Any]) -> None:
        """Check an update that no task exists for, against a task with one command."""
        now = self._manager.clock.now()
        default_app = self._manager.settings.default_app_name
        some = NewTask(id=self._dice.new_id(), commands=[TaskCommand("any")])
        defined = define(some, now=now, new_id="", default_app=default_app, user_id=None)
        redefine(defined.definition, True, data, now=now, default_app=default_app)

    async def _check_next_task_of(
        self, caller: Caller, ids: Sequence[str], data: dict[str, Any]
    ) -> None:
        """:raises InvalidParams: there is no such next task, or a circle that never waits"""
        target = _next_task(data)
        if target is not None and target not in ids:
            seen = seen_by(caller, access.OPERATE_TASKS)
            await self._next_tasks.check_exists(target, seen)
        if target is None and ("next_task" in data or "commands" not in data):
            return
        field = "data.commands" if target is None else "data.next_task"
        seen = seen_by(caller, access.OPERATE_TASKS)
        await self._next_tasks.check_circles(await self._changed(caller, ids, data), field, seen)

    async def _changed(
        self, caller: Caller, ids: Sequence[str], data: dict[str, Any]
    ) -> "list_[Definition]":
        """The definitions of tasks after an update. What cannot be updated is left out."""
        now = self._manager.clock.now()
        default_app = self._manager.settings.default_app_name
        changed = []
        seen = seen_by(caller, access.CHANGE_TASKS)
        for view in (await self._store.tasks(ids, seen, results=False)).values():
            with suppress(InvalidParams):
                defined, _ = redefine(
                    view.definition, view.row.enabled, data, now=now, default_app=default_app
                )
                changed.append(defined.definition)
        return changed

    def _change(
        self, caller: Caller, data: dict[str, Any], author: Author
    ) -> Callable[[TaskState], Event]:
        now = self._manager.clock.now()
        default_app = self._manager.settings.default_app_name

        def build(state: TaskState) -> Event:
            defined, changed = redefine(
                state.definition, state.row.enabled, data, now=now, default_app=default_app
            )
            if not changed.isdisjoint(("app_name", "commands")):
                self._check_own(defined)
            check_change(caller.principal, state.definition, changed)
            check_unscheduled(caller.principal, state, defined.definition)
            if changed:
                check_definition(caller.principal, defined)
            _narrow(caller, state.definition, defined.definition, changed)
            update = self._update(author, caller.cause, defined, changed, defined.next_run)
            return msgspec.structs.replace(update, open_run=True)

        return build

    def _update(
        self,
        author: Author,
        cause: Cause | None,
        defined: Defined,
        changed: frozenset[str],
        next_run: float | None,
    ) -> Update:
        return Update(
            definition=defined.definition,
            rev=self._dice.rev(),
            enabled=defined.enabled,
            changed=changed,
            next_run=next_run,
            job_id=self._dice.new_id(),
            cause=cause,
            author=author,
        )

    async def delete(self, caller: Caller, params: OperateParams) -> Deleted:
        """Delete a task in any status, with its history. The result is false if it is unknown."""
        try:
            audit = self._audit(caller, "delete", params.id, reason=params.reason)
            delete = permitted(caller, access.CHANGE_TASKS, Delete())
            await self._committer.apply(params.id, delete, audit=audit)
        except NotFound:
            return Deleted(False)
        return Deleted(True)

    async def reset(self, caller: Caller, params: OperateParams) -> Task:
        """Start a new run from the first stage now, in any status."""
        event = Reset(job_id=self._dice.new_id(), cause=caller.cause)
        return await self._operate(caller, "reset", params, event)

    async def restart_from(self, caller: Caller, params: RestartFromParams) -> Task:
        """Start a new run from a stage. The results of earlier stages are copied.

        With `version`, `commands`, `kws`, `max_exec_timeout` and the fields of retries are again
        what they were in that version, for this run and those after it: the task gets a new `rev`.
        """
        job_id = self._dice.new_id()
        details: dict[str, Any] = {"stage": params.stage}
        version: Definition | None = None
        if params.version is not None:
            version = await self._version(caller, params.id, params.version)
            details["version"] = params.version

        def build(state: TaskState) -> Event:
            if version is None:
                stage = stage_of(state.row, state.definition, params.stage)
                return RestartFrom(job_id=job_id, stage=stage, cause=caller.cause)
            defined, changed = self._as_before(caller, state, version)
            return RestartFrom(
                job_id=job_id,
                stage=stage_of(state.row, defined.definition, params.stage),
                cause=caller.cause,
                definition=defined.definition,
                rev=self._dice.rev(),
                changed=changed,
                author=Author(caller.user_id, params.reason),
            )

        return await self._operate(caller, "restart_from", params, build, **details)

    async def _version(self, caller: Caller, task_id: str, version: int) -> Definition:
        """
        :raises InvalidParams: the task has no such version
        """
        needs = access.OPERATE_TASKS
        view = await self._view(caller, task_id, results=False, needs=needs)
        if version == view.definition.version:
            return view.definition
        seen = seen_by(caller, needs)
        found = await self._store.versions(task_id, seen, before=version + 1, limit=1)
        if not found or found[0].version != version:
            raise InvalidParams(
                f"`version`: the task {task_id!r} has no version {version}", field="version"
            )
        return found[0]

    def _as_before(
        self, caller: Caller, state: TaskState, version: Definition
    ) -> tuple[Defined, frozenset[str]]:
        """The definition of a task with what its runs have done in a version. It has no more rights
        than the token that defined that version, or with which its owner makes this call."""
        defined, changed = redefine(
            state.definition,
            state.row.enabled,
            as_before(version),
            now=self._manager.clock.now(),
            default_app=self._manager.settings.default_app_name,
        )
        if changed:
            self._check_own(defined)
            defined.definition.token_id = version.token_id
        if changed and state.definition.user_id == caller.user_id:
            check_definition(caller.principal, defined, "version")
            _narrow(caller, state.definition, defined.definition, changed)
        return defined, changed

    async def suspend(self, caller: Caller, params: SuspendParams) -> Task:
        """Suspend a task until `tasks.resume`. Users do not resume what an operator suspended."""
        wait_stage = params.wait_stage
        by_user = caller.principal.kind is Kind.USER
        event = Suspend(wait_stage=wait_stage, by_user=by_user)
        return await self._operate(caller, "suspend", params, event, wait_stage=wait_stage)

    async def resume(self, caller: Caller, params: OperateParams) -> Task:
        """Resume a suspended task. Deadlines that passed in the meantime take effect now."""
        return await self._operate(caller, "resume", params, Resume())

    async def cancel(self, caller: Caller, params: OperateParams) -> Task:
        """Cancel the open run: it ends as FAILED with exit code 130."""
        return await self._operate(caller, "cancel", params, Cancel())

    async def run_now(self, caller: Caller, params: OperateParams) -> Task:
        """Run an idle task now, without waiting for its time. Its schedule does not change."""
        event = RunNow(job_id=self._dice.new_id(), cause=caller.cause)
        return await self._operate(caller, "run_now", params, event)

    async def message(self, caller: Caller, params: MessageParams) -> MessageReceipt:
        """Send a message to a run. It is kept until the run reaches its hook."""
        message = MessageCame(
            message_id=params.message_id or self._dice.new_id(),
            name=params.name,
            data=params.data.copy(),
            job_id=params.job_id,
            max_run_bytes=self._manager.settings.max_run_results_bytes,
            sender=caller.user_id,
        )
        event = permitted(caller, access.MESSAGE_TASKS, message)
        step = await self._committer.apply(params.id, event)
        assert step.receipt is not None
        return step.receipt

    async def delete_old_tasks(self, caller: Caller, params: DeleteOldParams) -> DeletedCount:
        """Delete tasks whose last run ended long ago.

        Scheduled tasks, system tasks, tasks whose run has not ended and tasks that others need are
        kept: what an open run has created or waits for, and the next tasks of unfinished tasks.
        """
        before = await self._store.now() - params.interval_days * DAY_SECONDS
        days = params.interval_days
        audit = self._audit(caller, "delete_old_tasks", reason=params.reason, interval_days=days)
        async with audited(self._committer, audit):
            sight = seen_by(caller, access.CHANGE_TASKS)
            deleted = await self._manager.retention.delete_ended(sight, before)
            audit.data["deleted"] = deleted
        return DeletedCount(deleted)


list_ = list


@contextmanager
def _of_item(index: int | None) -> Iterator[None]:
    """Add the index of the list item to errors inside the block."""
    try:
        yield
    except InvalidParams as exc:
        if index is not None:
            exc.data["index"] = index
        raise


def _sees(caller: Caller, definition: Definition) -> bool:
    """Whether an answer to a create may name a task that exists."""
    return seen_by(caller, access.CHANGE_TASKS).sees(definition.user_id, definition.app_name)


def _duplicate(holder: str | None, view: TaskView | None, index: int | None = None) -> Conflict:
    """
    :param holder: None if the caller does not see it
    :param view: of the holder; None for one of the same call, or one deleted since
    """
    more: dict[str, Any] = {} if index is None else {"index": index}
    if holder is not None:
        more["id"] = holder
    return Conflict(
        f"{'another task' if holder is None else f'the task {holder!r}'} holds the same unique key",
        status=None if view is None else view.row.status,
        field="data.unique" if index is None else f"data.{index}.unique",
        **more,
    )


def _reuse_warnings(new: Definition, holder: Definition, prefix: str) -> list_[str]:
    return [
        f"{prefix}.{name} is not the same as in the task {holder.id!r:.300}, which holds the unique"
        " key and stays as it is"
        for name in differences(new, holder)
    ]


def _new_view(step: Step, draft: Draft) -> TaskView | None:
    """A task as it was created. None: it must be read, because it may have changed since, or in the
    same transaction."""
    changes = step.spawn is not None or draft.definition.concurrency is not None
    return None if changes or not step.changed else TaskView(step.row, draft.definition, [])


def _narrow(caller: Caller, old: Definition, new: Definition, changed: frozenset[str]) -> None:
    """Give a task whose owner changes what it does no more rights than the token of that call."""
    if old.user_id == caller.user_id and not COMMANDS_OF.isdisjoint(changed):
        new.token_id = caller.principal.token_id


def _taken(task_id: str, status: str | None, **data: Any) -> Conflict:
    """
    :param status: of the task that exists; None if the caller does not see it
    """
    return Conflict(
        f"a task with the id {task_id!r} exists already", status=status, id=task_id, **data
    )


def _shown_columns(caller: Caller, view: TaskView, columns: tuple[str, ...]) -> dict[str, Any]:
    return task_columns(view, columns, data=caller.principal.sees_data)


def _created(task: Task, created: bool, warnings: list_[str]) -> CreatedTask:
    values = msgspec.structs.asdict(task)
    values["created"] = created
    return CreatedTask(**values, warnings=warnings)


def _next_task(changes: dict[str, Any]) -> str | None:
    """Return the id to look for. Values that cannot be ids are refused by their type."""
    try:
        return convert(changes.get("next_task"), Id | None)
    except InvalidParams:
        return None


def _columns(columns: list_[str] | None) -> tuple[str, ...]:
    if columns is None:
        return LIST_FIELDS
    for index, column in enumerate(columns):
        if column not in TASK_FIELDS + PARTS:
            raise InvalidParams(
                f"`columns.{index}` {column!r:.50} is not a field of a task",
                field=f"columns.{index}",
            )
    return tuple(columns)


def _cursor_after(view: TaskView, sort: Sort) -> str:
    return write_cursor(sort, [*(column_value(view, column) for column, _ in sort), view.row.id])

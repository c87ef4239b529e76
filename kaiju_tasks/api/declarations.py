"""Schedules that executors declare beside their code: `manager.declare`."""

from collections.abc import Mapping

from msgspec.structs import replace

from kaiju_tasks.api.caller import Caller
from kaiju_tasks.api.tasks import TasksApi
from kaiju_tasks.define import Defined, is_newer, succeed
from kaiju_tasks.errors import (
    Conflict,
    Forbidden,
    InvalidParams,
    KaijuError,
    NotFound,
    QuotaExceeded,
    Unavailable,
)
from kaiju_tasks.lifecycle import Author, Definition, Event, TaskState, Update
from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.writing.account import RATE
from kaiju_tasks.manager.writing.entries import AlreadyExists, Draft, Duplicate
from kaiju_tasks.protocol import (
    Declaration,
    Declared,
    DeclaredState,
    DeclareParams,
    DeclareResult,
)
from kaiju_tasks.rights import ALL_SIGHT, EVERYTHING, Principal, Verb
from kaiju_tasks.store.base import TaskView

__all__ = ["Declarations"]


class _Stays(KaijuError):
    """The task stays as it is.

    :ivar outcome: says why
    """

    def __init__(self, state: DeclaredState, message: str = "") -> None:
        super().__init__(message)
        self.outcome = Declared(state, message)


class Declarations:
    """Makes the tasks that executors declare."""

    def __init__(self, manager: Manager, tasks: TasksApi) -> None:
        self._manager = manager
        self._tasks = tasks

    async def declare(self, caller: Caller, params: DeclareParams) -> DeclareResult:
        """Make the declared tasks, each on its own.

        :raises Forbidden: the token of the executor does not grant the right to create
        """
        principal = EVERYTHING if self._manager.auth.local else caller.principal
        if not (principal.unlimited or principal.has_verb(Verb.CREATE)):
            raise Forbidden(
                "the token of this executor does not allow it to declare schedules: its scope must "
                "grant the verb `create`, and the methods of their commands (executors of "
                "`serve --executor` get such a token from the setting executor_token_file)"
            )
        author = Caller(principal, remote=caller.remote)
        ids = [str(one.task.get("id")) for one in params.schedules]
        known = await self._manager.store.tasks(ids, ALL_SIGHT, results=False)
        return DeclareResult([await self._declare(author, one, known) for one in params.schedules])

    async def _declare(
        self, caller: Caller, declaration: Declaration, known: Mapping[str, TaskView]
    ) -> Declared:
        try:
            return await self._made(caller, declaration, known)
        except _Stays as exc:
            return exc.outcome
        except Conflict as exc:
            state = DeclaredState.REFUSED if exc.status is None else DeclaredState.BUSY
            return Declared(state, exc.message)
        except QuotaExceeded as exc:
            is_rate = exc.data["quota"] == RATE
            state = DeclaredState.BUSY if is_rate else DeclaredState.REFUSED
            return Declared(state, exc.message)
        except (Forbidden, InvalidParams, NotFound) as exc:
            return Declared(DeclaredState.REFUSED, exc.message)

    async def _made(
        self, caller: Caller, declaration: Declaration, known: Mapping[str, TaskView]
    ) -> Declared:
        defined = await self._defined(caller, declaration)
        task_id = defined.definition.id
        if task_id in known:  # most often nothing is to be done, without a transaction
            _succeed(caller.principal, defined.definition, known[task_id].definition)
        elif await self._create(defined):
            return Declared(DeclaredState.CREATED)
        updates: list[Update] = []  # of all attempts

        def replacement(state: TaskState) -> Event:
            updates.append(self._replacement(caller, defined, state))
            return updates[-1]

        await self._manager.committer.apply(
            task_id,
            replacement,
            audit=caller.audit(
                self._manager.dice.new_id(),
                "manager.declare",
                task_id,
                version=declaration.version,
            ),
        )
        replaced = updates[-1].changed
        return Declared(DeclaredState.REPLACED if replaced else DeclaredState.UNCHANGED)

    async def _defined(self, caller: Caller, declaration: Declaration) -> Defined:
        """:raises InvalidParams: this is not a scheduled task with an id"""
        if declaration.task.get("id") is None:
            raise InvalidParams("`data.id` is required: it names the schedule", field="data.id")
        defined = await self._tasks.checked(declaration.task, caller)
        if not defined.definition.scheduled:
            raise InvalidParams("a schedule needs `cron` or `every`", field="data.cron")
        if defined.definition.unique is not None:
            raise InvalidParams(
                "`unique` is not for schedules: their id is unique", field="data.unique"
            )
        defined.definition.declared = declaration.version
        return defined

    async def _create(self, defined: Defined) -> bool:
        """Returns False if the task exists."""
        dice = self._manager.dice
        draft = Draft(
            defined.definition,
            job_id=dice.new_id(),
            rev=dice.rev(),
            enabled=defined.enabled,
            next_run=defined.next_run,
        )
        try:
            await self._manager.committer.accounts.admit(defined.definition.user_id)
            await self._manager.committer.create(draft)
        except AlreadyExists:
            return False
        except Duplicate as exc:  # only a unique key can be one
            raise Unavailable(str(exc)) from exc
        return True

    def _replacement(self, caller: Caller, new: Defined, state: TaskState) -> Update:
        """:raises _Stays: the task stays as it is"""
        definition, changed = _succeed(caller.principal, new.definition, state.definition)
        return Update(
            definition=definition,
            rev=self._manager.dice.rev(),
            enabled=state.row.enabled,
            changed=changed,
            next_run=None,
            job_id=self._manager.dice.new_id(),
            author=Author(caller.user_id, f"version {definition.declared} declares it"),
        )


def _succeed(
    principal: Principal, declared: Definition, old: Definition
) -> tuple[Definition, frozenset[str]]:
    """Let a definition succeed another one. One that does not differ raises the version, so that
    no older version replaces it.

    :returns: the new definition, and the fields that differ
    :raises _Stays: the task stays as it is
    """
    definition = replace(declared)
    version = declared.declared or ""
    if old.user_id != principal.id or old.declared is None:
        raise _Stays(
            DeclaredState.REFUSED,
            f"the task {old.id!r:.300} exists, and was not declared by an executor of this "
            "principal: choose another name, or delete it",
        )
    changed = succeed(definition, old)
    newer = is_newer(version, old.declared)
    if not changed and not newer:
        raise _Stays(DeclaredState.UNCHANGED)
    if not newer:
        fields = ", ".join(sorted(changed))
        if version != old.declared and is_newer(old.declared, version):
            raise _Stays(
                DeclaredState.OLDER,
                f"the schedule {old.id!r:.300} stays as version {old.declared} has declared it: "
                f"{version or 'no version'} is older",
            )
        raise _Stays(
            DeclaredState.DIFFERS,
            f"the schedule {old.id!r:.300} differs from what is declared ({fields}), and stays: "
            f"only a version newer than {old.declared or 'none'!r} replaces it",
        )
    definition.declared, definition.token_id = version, declared.token_id
    return definition, changed

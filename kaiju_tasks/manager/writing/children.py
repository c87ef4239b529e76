"""Creates, awaits and cancels the child tasks of `_TASKS_` stages.

The transaction that ends a child records the end and a signal for the parent. It never locks the
parent's row. The scheduler takes the signals and advances each parent once for many children.
"""

from collections.abc import Iterable

from msgspec import Raw, Struct, field

from kaiju_tasks.define import (
    Defined,
    circles,
    define,
    hide_others,
    read_new_task,
    waits,
    without_wait,
)
from kaiju_tasks.errors import Forbidden, InvalidParams, QuotaExceeded, TooManyTasks
from kaiju_tasks.lifecycle import (
    BrokenDefinition,
    Cancel,
    Cause,
    ChildFailure,
    ChildPlan,
    ChildrenLooked,
    Definition,
    Reset,
    Row,
    Spawn,
    TaskState,
    Wait,
    Watched,
    cause_of,
    claimed,
    create,
    descend,
    held_by_operator,
    inherit_labels,
    refuses,
)
from kaiju_tasks.lifecycle.children import Verdict, compiled_tasks
from kaiju_tasks.manager.dice import Dice
from kaiju_tasks.manager.writing.account import RATE, is_open
from kaiju_tasks.manager.writing.accounts import Accounts
from kaiju_tasks.manager.writing.changes import Change
from kaiju_tasks.manager.writing.claims import release_keys
from kaiju_tasks.manager.writing.families import Families
from kaiju_tasks.manager.writing.outcomes import outcomes
from kaiju_tasks.manager.writing.run_rights import (
    RunRights,
    check_hold,
    may_observe,
    may_start,
    respects_holds,
)
from kaiju_tasks.manager.writing.states import States
from kaiju_tasks.settings import Settings
from kaiju_tasks.store.base import Child, Summary, Transaction, TransactionConflict
from kaiju_tasks.types import ENDED, TASKS, ErrorType, Reason, TaskError, TaskStatus


class ChildTasks:
    """Executes `_TASKS_` stages."""

    def __init__(
        self,
        states: States,
        dice: Dice,
        settings: Settings,
        rights: RunRights,
        accounts: Accounts,
    ) -> None:
        self._states = states
        self._accounts = accounts
        self._dice = dice
        self._rights = rights
        self._settings = settings

    # -- begin of a wait -----------------------------------------------------------------

    async def lock_named(self, tx: Transaction, changes: Iterable[Change]) -> None:
        """Lock the tasks that several stages name, all at once. If each stage locked its own,
        the lock order could differ from that of another transaction and cause a deadlock."""
        spawns = [change.step.spawn for change in changes if change.step.spawn is not None]
        named = {c.id for spawn in spawns for c in spawn.children if c.id is not None}
        if len(spawns) > 1 and named:
            await tx.lock(sorted(named))

    async def spawn(
        self, tx: Transaction, change: Change, families: Families, *, refused: bool
    ) -> list[Change]:
        """Create or find all the tasks that a stage waits for, and save them. If one of them is
        not valid, none is created and the stage fails.

        :param refused: whether the transaction has reached its limit of created tasks
        """
        spawn, parent = change.step.spawn, change.definition
        assert spawn is not None
        spawning = SpawnPlan()
        try:
            if refused:
                raise _refusal("nested `_TASKS_` stages create too many tasks at once")
            cause = cause_of(change.step.row, parent)
            await self._gather(tx, parent, cause, spawn, spawning)
            if new := len(spawning.made.keys() - spawning.states.keys()):
                self._accounts.take(tx, parent.user_id, new)
            if again := sum(not is_open(row) for row in spawning.made_before()):
                self._accounts.take(tx, parent.user_id, again, new=False)
            if spawning.made:
                await families.grow(cause.root, len(spawning.made))
        except (InvalidParams, QuotaExceeded, TooManyTasks) as exc:
            await release_keys(tx, self._states, spawning.claimed)
            return await self._refuse(tx, parent.id, spawn.wait, exc)
        if spawning.again:
            await tx.drop_children(spawn.wait, spawning.again)
        changes, taken = await self._create(tx, spawning)
        changes += self._watch(tx, spawning)
        await tx.save([one.step for one in changes if one.before is not None])
        await self._record_ended(tx, spawning, changes)
        children = [child for child in spawning.children if child.child_id not in taken]
        if children:
            await tx.put_children(parent.id, spawn.wait, children)
        if taken:
            await release_keys(tx, self._states, sorted(taken.intersection(spawning.claimed)))
            error = _refusal(f"a task with the id {min(taken)!r} already exists")
            return changes + await self._refuse(tx, parent.id, spawn.wait, error)
        if any(child.status is not None for child in children):
            await tx.signal([parent.id])
        return changes

    async def _gather(
        self,
        tx: Transaction,
        parent: Definition,
        cause: Cause,
        spawn: Spawn,
        spawning: "SpawnPlan",
    ) -> None:
        """:raises InvalidParams: the stage cannot wait for one of these tasks
        :raises TooManyTasks: the family of the tasks would be too deep
        """
        known = {child.position: child for child in await tx.children(spawn.wait)}
        spawning.again = sorted(known)
        named: dict[str, int] = {}
        for position, plan in enumerate(spawn.children):
            child = known.get(position)
            if child is not None and _is_done(child, plan, spawn.cycle):
                spawning.again.remove(position)
                continue
            if plan.data is None:
                assert plan.id is not None
                named[plan.id] = position
            else:
                generated_id = f"{spawn.wait.job_id}.{spawn.wait.stage}.{position}"
                child_id = generated_id if plan.id is None else plan.id
                defined = self._define(tx, parent, plan, child_id, position)
                descend(defined.definition, cause, self._settings.max_family_depth)
                inherit_labels(defined.definition, parent.labels)
                spawning.made[child_id] = defined
                spawning.children.append(Child(position, spawn.cycle, child_id, made=True))
        await self._reuse(tx, spawning, named)
        spawning.states = await self._states.lock(tx, [*spawning.made, *named])
        await self._check_made(tx, parent, spawning)
        await self._check_next_tasks(tx, parent, spawning)
        await self._add_named(tx, parent, spawn, spawning, named)
        await _refuse_cycle(tx, parent.id, named)

    def _define(
        self, tx: Transaction, parent: Definition, plan: ChildPlan, child_id: str, position: int
    ) -> Defined:
        prefix = f"create.{position}"
        data = {"priority": parent.priority, **(plan.data or {}), "id": child_id}
        new = read_new_task(data, prefix)
        defined = define(
            new,
            now=tx.now,
            new_id=child_id,
            default_app=self._settings.default_app_name,
            user_id=parent.user_id,
            prefix=prefix,
        )
        defined.definition.token_id = parent.token_id
        return defined

    async def _reuse(self, tx: Transaction, spawning: "SpawnPlan", named: dict[str, int]) -> None:
        """Wait for the holder of a unique key instead of creating a second task with the key."""
        wanted: dict[str, str] = {}
        for child_id, defined in spawning.made.items():
            if (key := defined.definition.unique_key) is None:
                continue
            if wanted.setdefault(key, child_id) != child_id:
                raise _refusal(
                    f"the tasks {wanted[key]!r} and {child_id!r} have the same unique key"
                )
        held = await tx.claim(wanted) if wanted else {}
        spawning.claimed = [child_id for key, child_id in wanted.items() if key not in held]
        others = {key: holder for key, holder in held.items() if holder != wanted[key]}
        holders = await tx.definitions(others.values()) if others else {}
        if not holders.keys() >= set(others.values()):
            raise TransactionConflict("the holder of a unique key was deleted meanwhile")
        for key, holder in others.items():
            child_id = wanted[key]
            new = spawning.made.pop(child_id).definition
            (child,) = [one for one in spawning.children if one.child_id == child_id]
            if holder in named or refuses(new, holders[holder].definition):
                raise _refusal(f"the task {holder!r} holds the unique key of {child_id!r}")
            spawning.children.remove(child)
            named[holder] = child.position

    async def _check_made(self, tx: Transaction, parent: Definition, spawning: "SpawnPlan") -> None:
        for child_id in spawning.made:
            state = spawning.states.get(child_id)
            if state is None:
                continue
            orphan = state.definition.user_id != parent.user_id  # of a deleted task with this id
            if orphan or state.definition.parent_id != parent.id:
                raise _refusal(f"a task with the id {child_id!r} already exists")
            try:
                check_hold(await self._rights.of(tx, parent), state)
            except Forbidden as exc:
                raise _refusal(str(exc)) from exc

    async def _check_next_tasks(
        self, tx: Transaction, parent: Definition, spawning: "SpawnPlan"
    ) -> None:
        made = {child_id: defined.definition for child_id, defined in spawning.made.items()}
        targets = {one.next_task for one in made.values() if one.next_task is not None}
        if not targets:
            return
        known = await tx.next_tasks(targets)
        found = await tx.definitions(targets) if parent.token_id is not None else {}
        principal = await self._rights.of(tx, parent)
        strange = {
            one
            for one, stored in found.items()
            if not may_observe(principal, stored.definition)
            or not may_start(principal, stored.definition)
        }
        for target in sorted(targets - made.keys() - (known.keys() - strange)):
            raise _refusal(f"`next_task`: there is no task {target!r}")
        for circle in circles(made, known):
            members = await tx.definitions(circle)
            stored = {one: stored.definition for one, stored in members.items()}
            if not waits(circle, {**stored, **made}):
                owned = {one for one, d in stored.items() if d.user_id == parent.user_id}
                shown = owned if parent.token_id is not None else set(circle)
                raise _refusal(without_wait(hide_others(circle, made.keys() | shown)))

    async def _add_named(
        self,
        tx: Transaction,
        parent: Definition,
        spawn: Spawn,
        spawning: "SpawnPlan",
        named: dict[str, int],
    ) -> None:
        if not named:
            return
        principal = await self._rights.of(tx, parent)
        for child_id, position in named.items():
            state = spawning.states.get(child_id)
            if child_id == parent.id:
                raise _refusal("a task cannot wait for itself")
            if state is None or not may_observe(principal, state.definition):
                raise _refusal(f"there is no task {child_id!r}")
            spawning.children.append(Child(position, spawn.cycle, child_id, made=False))

    async def _create(
        self, tx: Transaction, spawning: "SpawnPlan"
    ) -> tuple[list[Change], set[str]]:
        """Insert new children, and restart those that already exist."""
        pauses = self._states.pauses
        fresh = [d for child_id, d in spawning.made.items() if child_id not in spawning.states]
        steps = [
            create(
                d.definition,
                tx.now,
                job_id=self._dice.new_id(),
                rev=self._dice.rev(),
                enabled=d.enabled,
                next_run=d.next_run,
                pauses=pauses,
                awaited=True,
            )
            for d in fresh
        ]
        created = [Change(s, d.definition, None) for s, d in zip(steps, fresh, strict=True)]
        await self._states.placings.place(tx, created)
        taken = await tx.insert(steps) if steps else set()
        changes = [change for change in created if change.step.row.id not in taken]
        old = [state for child_id, state in spawning.states.items() if child_id in spawning.made]
        return changes + self._states.advance(tx, old, lambda s: self._reset(spawning, s)), taken

    async def _record_ended(
        self, tx: Transaction, spawning: "SpawnPlan", changes: list[Change]
    ) -> None:
        """Record children that have ended already, and free their keys: those without executor
        stages, named ones, and those that cannot be read."""
        run_ends = {one.step.row.id: one.step.run_end for one in changes}
        rows = {child_id: state.row for child_id, state in spawning.states.items()}
        rows.update((one.step.row.id, one.step.row) for one in changes)
        for child in spawning.children:
            end, row = run_ends.get(child.child_id), rows.get(child.child_id)
            if end is not None:
                child.status, child.exit_code, child.error = end.status, end.exit_code, end.error
                child.job_id, child.job_cycle, child.stages = end.job_id, end.cycle, end.stages
            elif row is not None and row.status in ENDED:
                child.status, child.exit_code, child.error = row.status, row.exit_code, row.error
                child.job_id, child.job_cycle, child.stages = row.job_id, row.cycle, row.stage
        keyed = [one for one in changes if one.step.row.id in spawning.claimed]
        ended = [c.step.row.id for c in keyed if claimed(c.step.row, c.definition) is None]
        if ended:
            await tx.unclaim(ended)

    def _reset(self, spawning: "SpawnPlan", state: TaskState) -> Reset:
        definition = spawning.made[state.row.id].definition
        return Reset(job_id=self._dice.new_id(), definition=definition, rev=self._dice.rev())

    def _watch(self, tx: Transaction, spawning: "SpawnPlan") -> list[Change]:
        named = {child.child_id for child in spawning.children if not child.made}
        states = [state for child_id, state in spawning.states.items() if child_id in named]
        return self._states.advance(tx, states, Watched())

    async def _refuse(
        self,
        tx: Transaction,
        parent_id: str,
        wait: Wait,
        error: InvalidParams | QuotaExceeded | TooManyTasks,
    ) -> list[Change]:
        refusal = TaskError(self._refusal_type(error), str(error), wait.stage, error.data)
        event = ChildrenLooked(wait=wait, left=False, finished=False, refusal=refusal)
        states = await self._states.lock(tx, [parent_id])
        changes = self._states.advance(tx, states.values(), event)
        await tx.save([change.step for change in changes])
        return changes

    def _refusal_type(self, error: InvalidParams | QuotaExceeded | TooManyTasks) -> ErrorType:
        """A stage is run again later if it creates tasks too fast, or if its open tasks have to be
        counted first. Other refusals fail it."""
        if isinstance(error, TooManyTasks):
            return ErrorType.TOO_MANY_TASKS
        if isinstance(error, InvalidParams):
            return ErrorType.INVALID_PARAMS
        is_later = error.data["quota"] == RATE or self._accounts.is_outdated(error)
        return ErrorType.RETRY_AFTER if is_later else ErrorType.TOO_MANY_REQUESTS

    # -- signals of ended children -------------------------------------------------------

    async def look(self, tx: Transaction, at_once: int) -> tuple[list[Change], bool]:
        """Advance the parents for which there are signals. The caller saves the changes.

        :param at_once: maximum number of signals to take
        :returns: the changes, and whether there may be more signals
        """
        ids = await tx.take_signals(at_once)
        states = await self._states.lock(tx, ids) if ids else {}
        waiting = {wait: state for state in states.values() if (wait := _wait_of(state))}
        summaries = await tx.children_summary(waiting) if waiting else {}
        events: dict[str, ChildrenLooked] = {}
        later: list[str] = []
        for wait, summary in summaries.items():
            state = waiting[wait]
            verdict = _verdict(state, wait, summary)
            if verdict == "wait":
                continue
            left = [c.child_id for c in await tx.children(wait) if c.status is None]
            if not states.keys().isdisjoint(left):
                later.append(state.row.id)  # an unfinished child may end in this transaction
            else:
                if left:
                    await tx.lock(left)  # wait for children that are ending to be recorded
                children = await tx.children(wait)
                events[state.row.id] = await self._event(tx, wait, verdict, summary, children)
        if later:
            await tx.signal(later)
        ready = [state for task_id, state in states.items() if task_id in events]
        changes = self._states.advance(tx, ready, lambda state: events[state.row.id])
        return changes, bool(later) or len(ids) == at_once

    async def _event(
        self,
        tx: Transaction,
        wait: Wait,
        verdict: Verdict,
        summary: Summary,
        children: list[Child],
    ) -> ChildrenLooked:
        result, refusal = Raw(b"null"), None
        max_bytes = self._settings.max_result_bytes
        if verdict == "done":
            result = await outcomes(tx, children, max_bytes)
        if len(result) > max_bytes:
            message = f"the list of {len(children)} outcomes would exceed {max_bytes} bytes"
            refusal = TaskError(ErrorType.RESULT_TOO_LARGE, message, wait.stage)
        return ChildrenLooked(
            wait=wait,
            left=summary.left,
            finished=summary.finished,
            failure=_first_failure(children),
            result=result,
            refusal=refusal,
            max_run_bytes=self._settings.max_run_results_bytes,
        )

    # -- end of a wait -------------------------------------------------------------------

    async def abandoned(self, tx: Transaction, changes: Iterable[Change]) -> list[str]:
        """The unfinished created children whose parents no longer wait. Call it before deletions
        are saved.

        :returns: their ids
        """
        found: list[str] = []
        for change in changes:
            if change.step.abandon is not None:
                children = await tx.children(change.step.abandon)
                found += [c.child_id for c in children if c.made and c.status is None]
        return found

    async def cancel(self, tx: Transaction, ids: list[str]) -> list[Change]:
        """Cancel children whose parent no longer waits, and save the changes. Those that an
        operator has suspended stay as they are, if the owner may not let them go on: a reset of
        what was cancelled would."""
        if not ids:
            return []
        states = await self._states.lock(tx, ids)
        open_ = [
            state
            for state in states.values()
            if state.row.open and not await self._stays_held(tx, state)
        ]
        event = Cancel(message="the task that created this task no longer waits for it")
        changes = self._states.advance(tx, open_, event)
        await tx.save([change.step for change in changes])
        return changes

    async def _stays_held(self, tx: Transaction, state: TaskState) -> bool:
        if not held_by_operator(state.row):
            return False
        return respects_holds(await self._rights.of(tx, state.definition))


class SpawnPlan(Struct):
    """The tasks that a stage is to wait for.

    :param made: the tasks to create, by id
    :param states: the states of named tasks and of tasks to create that already exist
    :param children: the records to write
    :param claimed: the tasks to create whose unique keys were claimed by this transaction
    :param again: the positions whose records of an earlier attempt are replaced
    """

    made: dict[str, Defined] = field(default_factory=dict)
    states: dict[str, TaskState] = field(default_factory=dict)
    children: list[Child] = field(default_factory=list)
    claimed: list[str] = field(default_factory=list)
    again: list[int] = field(default_factory=list)

    def made_before(self) -> list[Row]:
        """The tasks to create that already exist, and are started again."""
        return [state.row for child_id, state in self.states.items() if child_id in self.made]


def _is_done(child: Child, plan: ChildPlan, cycle: int) -> bool:
    """Whether a retry keeps this child: it has finished."""
    finished = child.status == TaskStatus.FINISHED and child.cycle == cycle
    return finished and plan.id in (None, child.child_id)


def _wait_of(state: TaskState) -> Wait | None:
    row = state.row
    if row.status is not TaskStatus.WAITING or row.job_id is None or row.stage >= row.stages:
        return None
    if not isinstance(state.definition, BrokenDefinition):
        if state.definition.commands[row.stage].method != TASKS:
            return None
    elif row.reason != Reason.TASKS:
        return None
    return Wait(row.job_id, row.stage)


def _verdict(state: TaskState, wait: Wait, summary: Summary) -> Verdict:
    if isinstance(state.definition, BrokenDefinition):
        return "done"  # its next event ends it
    hook = compiled_tasks(bytes(state.definition.commands[wait.stage].params))
    return hook.verdict(left=summary.left, finished=summary.finished, failed=summary.failed)


def _first_failure(children: list[Child]) -> ChildFailure | None:
    """The first child that failed. One that must not be retried takes precedence: a retry of the
    stage would repeat it together with the first."""
    failures = [
        ChildFailure(child.child_id, child.exit_code or 0, Raw((child.error or "{}").encode()))
        for child in children
        if child.status == TaskStatus.FAILED
    ]
    return next((one for one in failures if one.final), failures[0] if failures else None)


async def _refuse_cycle(tx: Transaction, parent_id: str, named: Iterable[str]) -> None:
    """:raises InvalidParams: one of these tasks waits for the parent, directly or indirectly"""
    seen, front = set[str](), set(named)
    while front:
        if parent_id in front:
            raise _refusal("the task would wait for itself: its children form a cycle")
        seen |= front
        front = set(await tx.waits_of(front)) - seen
        if front:  # the lock keeps them from starting to wait for other tasks meanwhile
            await tx.lock(front)


def _refusal(message: str) -> InvalidParams:
    return InvalidParams(message, field="params")

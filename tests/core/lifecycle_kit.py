"""A store of one task in memory: saves steps as a store does, checks what must always hold."""

import itertools
from typing import Any

import msgspec
from msgspec import Raw

from kaiju_tasks.errors import Conflict, InvalidParams
from kaiju_tasks.lifecycle import (
    TABLE,
    Acquired,
    Attempt,
    Cause,
    ChildrenLooked,
    Command,
    Definition,
    Due,
    Event,
    ExecutorLost,
    InboxMessage,
    MessageCame,
    Pauses,
    Row,
    RunEnd,
    RunRecord,
    Spawn,
    StageFailed,
    StageFinished,
    Step,
    TaskState,
    Update,
    Wait,
    advance,
    create,
)
from kaiju_tasks.protocol import Lease
from kaiju_tasks.types import Pause, TaskError, TaskStatus

NULL = Raw(b"null")
IDLE, QUEUED, EXECUTED = TaskStatus.IDLE, TaskStatus.QUEUED, TaskStatus.EXECUTED
WAITING, SUSPENDED = TaskStatus.WAITING, TaskStatus.SUSPENDED
FINISHED, FAILED = TaskStatus.FINISHED, TaskStatus.FAILED
ENDED = (FINISHED, FAILED)


def command(method: str = "do", **fields: Any) -> Command:
    params = Raw(msgspec.json.encode(fields.pop("params", {})))
    condition = fields.pop("condition", None)
    return Command(method, params, condition=Raw(msgspec.json.encode(condition)), **fields)


def timer(seconds: Any, **fields: Any) -> Command:
    return command("_TIMER_", params={"timer": seconds}, **fields)


def message(name: Any = None, max_timeout: float | None = None, **params: Any) -> Command:
    if name is not None:
        params["name"] = name
    return command("_MESSAGE_", params=params, max_timeout=max_timeout)


def tasks(max_timeout: float | None = None, name: str | None = None, **params: Any) -> Command:
    return command("_TASKS_", params=params, max_timeout=max_timeout, name=name)


def pause(id: str = "p", **fields: Any) -> Pause:
    return Pause(id=id, reason="because", created="2026-01-01T00:00:00Z", **fields)


def define(*commands: Command, **fields: Any) -> Definition:
    kws = Raw(msgspec.json.encode(fields.pop("kws", {})))
    return Definition(
        id="t",
        app_name="default",
        commands=list(commands) or [command()],
        created="2026-01-01T00:00:00Z",
        kws=kws,
        **fields,
    )


class World:
    """One task, its clock and its history."""

    def __init__(
        self,
        *commands: Command,
        now: float = 1000.0,
        enabled: bool = True,
        next_run: float | None = None,
        **fields: Any,
    ) -> None:
        self.now = now
        self.ids = itertools.count(1)
        self.results: dict[tuple[str, int, int], Raw] = {}
        self.inbox: list[InboxMessage] = []
        self.received: dict[str, str | None] = {}
        self.attempts: list[Attempt] = []
        self.runs: list[RunRecord] = []
        self.events: list[str] = []
        self.starts: list[str] = []
        self.spawned: list[Spawn] = []
        self.abandoned: list[Wait] = []
        self.run_ends: list[RunEnd] = []
        self.claims: list[str] = []
        self.signals = 0
        self.pauses = Pauses()
        self.definition = define(*commands, **fields)
        step = create(
            self.definition, now, job_id=self.new_id(), rev=1, enabled=enabled, next_run=next_run
        )
        self.row = step.row
        self._save(step)

    def new_id(self) -> str:
        return f"job{next(self.ids)}"

    # -- events --------------------------------------------------------------------------

    def apply(self, event: Event) -> Step:
        """Advance and save. A refused event is checked to have changed nothing."""
        state = self.state()
        before = _snapshot(state)
        old = state.row
        try:
            step = advance(state, event, self.now)
        except (Conflict, InvalidParams):
            assert _snapshot(state) == before
            raise
        assert _snapshot(state) == before
        assert step.row is not old or not step.changed
        if step.changed:
            assert step.row.status in TABLE[type(event)][old.status].targets
            assert step.row.version == old.version + 1
            _check_since(old, step.row, self.now)
            self._save(step)
        else:
            assert msgspec.json.encode(step.row) == msgspec.json.encode(old)
            effects = (step.attempts, step.runs, step.events, step.consumed, step.revoke)
            assert not any(effects)
        return step

    def state(self) -> TaskState:
        row = self.row
        results = {
            stage: self.results[row.job_id or "", row.cycle, stage]
            for stage in self.definition.hook_results
            if stage < row.stage
        }
        return TaskState(
            row,
            self.definition,
            results,
            tuple(self.inbox),
            self.pauses,
            frozenset(self.received),
        )

    def pause(self, *pauses: Pause) -> None:
        """These are the pauses from now on."""
        self.pauses = Pauses(pauses, self.pauses.revision + 1)

    def look(self, *, left: bool = False, finished: bool = False, **fields: Any) -> Step:
        """Look at the children of the current stage."""
        wait = fields.pop("wait", Wait(self.row.job_id or "", self.row.stage))
        return self.apply(ChildrenLooked(wait=wait, left=left, finished=finished, **fields))

    def due(self, up_since: float = 0.0, grace: float = 0.0, heard_since: float = 0.0) -> Step:
        event = Due(job_id=self.new_id(), up_since=up_since, grace=grace, heard_since=heard_since)
        return self.apply(event)

    def at(self, now: float, up_since: float = 0.0, grace: float = 0.0) -> Step:
        """Let the time come and the manager look."""
        self.now = now
        return self.due(up_since, grace)

    def acquire(self, executor: str = "e") -> Step:
        return self.apply(Acquired(executor_id=executor, nonce=f"n{self.row.epoch + 1}"))

    @property
    def lease(self) -> Lease:
        row = self.row
        return Lease(row.id, row.job_id or "", row.epoch, row.nonce or "")

    def finish(self, result: Any = None, **fields: Any) -> Step:
        raw = Raw(msgspec.json.encode(result))
        given: dict[str, Any] = {"lease": self.lease, "stage": self.row.stage, **fields}
        return self.apply(StageFinished(result=raw, **given))

    def fail(self, type: str = "execution_error", data: Any = None, **fields: Any) -> Step:
        given: dict[str, Any] = {"lease": self.lease, "stage": self.row.stage, **fields}
        return self.apply(StageFailed(error=TaskError(type, "no luck", data=data), **given))

    def lose(self, **fields: Any) -> Step:
        return self.apply(ExecutorLost(executor_id=self.row.executor_id or "e", **fields))

    def send(self, message_id: str, name: str | None = None, data: Any = 1, **more: Any) -> str:
        raw = Raw(msgspec.json.encode(data))
        event = MessageCame(message_id=message_id, name=name, data=raw, **more)
        receipt = self.apply(event).receipt
        assert receipt is not None
        return receipt.state

    def update(
        self,
        *,
        enabled: bool | None = None,
        next_run: float | None = None,
        cause: Cause | None = None,
        **fields: Any,
    ) -> Step:
        definition = msgspec.structs.replace(self.definition, **fields)
        return self.apply(
            Update(
                definition=definition,
                rev=self.row.rev + 1,
                enabled=self.row.enabled if enabled is None else enabled,
                changed=frozenset(fields),
                next_run=next_run,
                job_id=self.new_id(),
                cause=cause,
            )
        )

    # -- what a store does ---------------------------------------------------------------

    def _save(self, step: Step) -> None:
        self._save_inbox(step)
        if step.definition is not None:
            self.definition = step.definition
        for attempt in step.attempts:
            self._save_attempt(attempt)
        if step.copy_results is not None:
            c = step.copy_results
            for stage in range(c.stages):
                self.results[c.to_job, 0, stage] = self.results[c.from_job, c.from_cycle, stage]
        ids = {run.run_id for run in self.runs}
        for run in step.runs:
            assert run.run_id not in ids, f"{run.run_id} is recorded twice"
            ids.add(run.run_id)
        self.runs += step.runs
        self.events += step.events
        if step.start_next is not None:
            self.starts.append(step.start_next)
        if step.abandon is not None:
            self.abandoned.append(step.abandon)
        if step.spawn is not None:
            self.spawned.append(step.spawn)
        if step.run_end is not None:
            self.run_ends.append(step.run_end)
        if step.claim is not None:
            self.claims.append(step.claim)
        self.signals += step.signal
        self.row = step.row
        if not step.deleted:
            check(self)

    def _save_inbox(self, step: Step) -> None:
        if step.received is not None:
            for message_id in step.received.message_ids:
                assert message_id not in self.received, "received by two runs"
                self.received[message_id] = step.received.job_id
        if step.inbox == "clear":
            unknown = {m.message_id for m in self.inbox} - self.received.keys()
            assert not unknown, f"the ids {unknown} are forgotten"
            self.inbox = []
        elif step.inbox == "replay":
            self.inbox = [msgspec.structs.replace(m, consumed=False) for m in self.inbox]
        if step.message is not None:
            self.inbox.append(step.message)
        for message_id in step.consumed:
            (index,) = [i for i, m in enumerate(self.inbox) if m.message_id == message_id]
            assert not self.inbox[index].consumed, "consumed twice"
            self.inbox[index] = msgspec.structs.replace(self.inbox[index], consumed=True)

    def _save_attempt(self, attempt: Attempt) -> None:
        same = [a for a in self.attempts if _key(a) == _key(attempt)]
        assert attempt.attempt == len(same) + 1, "attempts are consecutive from 1"
        self.attempts.append(attempt)
        if attempt.outcome in ("FINISHED", "SKIPPED"):
            assert attempt.result is not None
            assert _key(attempt) not in self.results, "one result for a stage"
            self.results[_key(attempt)] = attempt.result


def _check_since(old: Row, new: Row, now: float) -> None:
    """A task that comes to stand elsewhere stands there from now on."""
    assert new.since in (old.since, now)
    assert new.since == now or _place(new) == _place(old)


def _place(row: Row) -> tuple[object, ...]:
    at_stage = row.stage if row.status in (EXECUTED, WAITING) else None
    return row.status, row.reason, at_stage


def _snapshot(state: TaskState) -> bytes:
    return msgspec.json.encode(state, enc_hook=lambda pauses: pauses.revision)


def _key(attempt: Attempt) -> tuple[str, int, int]:
    return attempt.job_id, attempt.cycle, attempt.stage


# -- what must always hold ---------------------------------------------------------------


def check(world: World) -> None:
    row = world.row
    _check_like_the_schema(row)
    assert row.status_change <= row.since <= world.now
    _check_awake(row)
    for stage in range(row.stage):
        assert (row.job_id, row.cycle, stage) in world.results, stage
    if row.status is WAITING and row.reason == "tasks":
        assert Wait(row.job_id or "", row.stage) in [spawn.wait for spawn in world.spawned]
    if row.ready:
        assert row.stage < row.stages
        assert not world.definition.commands[row.stage].is_hook


def _check_like_the_schema(row: Row) -> None:
    leased = (row.executor_id, row.nonce, row.exec_deadline)
    if row.status is EXECUTED:
        assert None not in leased
        assert row.job_id
        assert row.open
    else:
        assert leased == (None, None, None)
        assert row.stage_deadline is None
        assert not row.hold_next
    assert (row.held is not None) == (row.status is SUSPENDED)
    assert row.ready == 0 or row.status is QUEUED
    assert row.gate is None or (row.status is QUEUED and row.ready == 0)
    assert 0 <= row.stage <= row.stages <= 100
    assert 0 <= row.retries <= 10
    if row.status is FINISHED:
        assert (row.exit_code, row.error) == (0, None)
    if row.status is FAILED:
        assert row.exit_code in (1, 130)
        assert row.error
    assert row.open == (row.status not in ENDED) or row.status in (IDLE, SUSPENDED)
    if row.open:
        assert row.exit_code is None
        assert row.job_id


def _check_awake(row: Row) -> None:
    """Nothing live is left without somebody or something to wake it."""
    if row.status is EXECUTED:
        assert row.due_at is not None
    elif row.status is QUEUED:
        assert row.ready or not row.enabled or row.gate
    elif row.status is WAITING:
        assert row.due_at is not None or row.reason in ("message", "tasks")
    elif row.status is IDLE and row.enabled:
        assert row.due_at is not None
    elif row.status in ENDED:
        assert row.due_at is None
        assert not row.start_next


def error_of(world: World) -> dict[str, Any]:
    error: dict[str, Any] = msgspec.json.decode(world.row.error or "{}")
    return error


def attempts(world: World) -> list[tuple[int, int, str]]:
    return [(a.stage, a.attempt, a.outcome) for a in world.attempts]

"""What must hold between tasks at every commit: slots, unique keys, children, pauses.

Read in the database after each committed transaction, beside the rows that the oracle has seen.
"""

import fnmatch
import sqlite3
from collections import Counter
from collections.abc import Iterator

import msgspec
from msgspec import Struct

from kaiju_tasks.lifecycle import Definition, Row, Step
from kaiju_tasks.store import Store
from kaiju_tasks.types import TASKS, ExitCode, Pause, TaskStatus
from tests.simulation.invariants import Invariant
from tests.simulation.oracle import ENDED, Oracle
from tests.simulation.trace import Trace

NOT_STARTED = (TaskStatus.IDLE, TaskStatus.QUEUED, TaskStatus.SUSPENDED)
_pause = msgspec.json.Decoder(Pause).decode

Wait = tuple[str, int]
Stuck = tuple[Invariant, tuple[object, ...], str]
"""What may not stand for long, what it is known by, and what to say of it."""


class Child(Struct):
    """A row of `children`."""

    parent_job: str
    stage: int
    position: int
    parent_id: str
    child_id: str
    made: bool
    status: str | None
    exit_code: int | None
    job_id: str | None
    job_cycle: int | None
    stages: int | None

    @property
    def wait(self) -> Wait:
        return self.parent_job, self.stage


class _Outcome(Struct):
    id: str
    status: str | None
    exit_code: int | None
    result: list[msgspec.Raw] | None = None
    truncated: bool = False


_outcomes = msgspec.json.Decoder(list[_Outcome]).decode


class Ties:
    """Watches commits, after the oracle has."""

    def __init__(self, oracle: Oracle, store: Store, trace: Trace) -> None:
        self._oracle = oracle
        self._store = store
        self._trace = trace
        self._sole: dict[str, str] = {}
        self._claims: dict[str, str] = {}
        self._children: list[Child] = []
        self._epochs: dict[str, int] = {}
        self._pauses_since: dict[str, float] = {}

    @property
    def _db(self) -> sqlite3.Connection:
        db: sqlite3.Connection = self._store._writer._db  # type: ignore[attr-defined]
        return db

    def _wrong(self, invariant: Invariant, text: str) -> None:
        self._trace.violated(invariant, text)

    def _key(self, task_id: str) -> str | None:
        return self._oracle.definitions[task_id].slot_key

    def committed(self, steps: list[Step]) -> None:
        """:param steps: what the transaction wrote"""
        self._slots()
        self._unique(steps)
        self._family(steps)
        self._paused(steps)

    # -- slots -------------------------------------------------------------------------------

    def _slots(self) -> None:
        executed: Counter[str] = Counter()
        limits: dict[str, int] = {}
        ready: Counter[tuple[str, str]] = Counter()
        gated: set[tuple[str, str]] = set()
        for row in self._oracle.rows.values():
            definition = self._oracle.definitions[row.id]
            key, concurrency = definition.slot_key, definition.concurrency
            if key is None or concurrency is None:
                continue
            limits[key] = concurrency.limit
            executed[key] += row.status is TaskStatus.EXECUTED
            ready[key, row.app_name] += row.ready > 0
            if row.gate == f"c:{key}":
                gated.add((key, row.app_name))
                self._check_gated(row, definition)
        used = dict(self._db.execute("SELECT key, used FROM slots"))
        for key in sorted(used.keys() | limits.keys()):
            if used.get(key, 0) != executed[key]:
                self._wrong(
                    Invariant.SLOTS_ARE_COUNTED,
                    f"slots of {key}: {used.get(key, 0)} used, but {executed[key]} EXECUTED",
                )
            if executed[key] > limits.get(key, 0):
                self._wrong(
                    Invariant.LIMITS_HOLD,
                    f"slots of {key}: {executed[key]} EXECUTED of {limits.get(key)}",
                )
        unsettled = {key for (key,) in self._db.execute("SELECT key FROM slots WHERE unsettled")}
        for key, app_name in sorted(gated):
            self._oracle.count("waits for a slot")
            if key in unsettled:  # a commit in doubt has locked who comes next
                continue
            if executed[key] + ready[key, app_name] < limits[key]:
                self._wrong(
                    Invariant.SLOTS_ARE_PASSED_ON,
                    f"a slot of {key} is free, nobody of {app_name} comes for it",
                )

    def _check_gated(self, row: Row, definition: Definition) -> None:
        assert definition.concurrency is not None
        if definition.concurrency.on_full == "drop" and row.run_started_at is None:
            self._wrong(
                Invariant.FULL_DROPS, f"task {row.id} waits for a slot, and was to be dropped"
            )

    # -- unique keys ---------------------------------------------------------------------------

    def _unique(self, steps: list[Step]) -> None:
        rows, definitions = self._oracle.rows, self._oracle.definitions
        claims: dict[str, str] = dict(self._db.execute("SELECT key, task_id FROM claims"))
        for key, task_id in claims.items():
            if task_id not in rows or not _is_claiming(rows[task_id], definitions[task_id]):
                self._wrong(
                    Invariant.KEYS_OF_THE_LIVING,
                    f"task {task_id} holds the unique key {key}, and is over",
                )
            elif definitions[task_id].unique_key != key:
                self._wrong(
                    Invariant.KEYS_OF_THE_LIVING,
                    f"task {task_id} holds the unique key {key}, which is not its own",
                )
        self._sole = {
            task_id: key
            for task_id, key in self._sole.items()
            if task_id in rows and _is_claiming(rows[task_id], definitions[task_id])
        }
        for task_id, key in self._sole.items():
            if claims.get(key) != task_id and task_id not in self._oracle.spoilt:
                self._wrong(
                    Invariant.KEYS_ARE_KEPT, f"task {task_id} has lost the unique key {key}"
                )
        for step in steps:
            if step.row.version == 0:
                self._born(step.row.id, claims)
        self._claims = claims

    def _born(self, task_id: str, claims: dict[str, str]) -> None:
        """A new task: nobody held its key before, and it holds it as long as it may."""
        rows, definitions = self._oracle.rows, self._oracle.definitions
        key = None if task_id not in rows else definitions[task_id].unique_key
        if key is None or not _is_claiming(rows[task_id], definitions[task_id]):
            return
        self._oracle.count("claim")
        holder = self._claims.get(key)
        if holder not in (None, task_id) and claims.get(key) == holder:
            self._wrong(
                Invariant.KEYS_ARE_UNIQUE,
                f"task {task_id} is made, though {holder} holds its unique key {key}",
            )
        if claims.get(key) != task_id:
            self._wrong(
                Invariant.KEYS_ARE_KEPT, f"task {task_id} is made without its unique key {key}"
            )
        self._sole[task_id] = key

    # -- children ------------------------------------------------------------------------------

    def _family(self, steps: list[Step]) -> None:
        children = self._read_children()
        for child in children:
            if child.status is None:
                self._check_open(child)
        self._check_left_alone(children)
        cancelled = {s.row.id for s in steps if s.row.exit_code == ExitCode.ABORTED}
        for step in steps:
            for attempt in step.attempts:
                if attempt.method == TASKS:
                    self._oracle.count(f"children {attempt.outcome}")
                    result = bytes(attempt.result or b"")
                    if result.startswith(b"[{") and step.row.cycle == attempt.cycle:
                        wait = attempt.job_id, attempt.stage
                        mine = [child for child in children if child.wait == wait]
                        self._check_result(wait, _outcomes(result), mine, cancelled)
        self._children = children

    def _read_children(self) -> list[Child]:
        found = self._db.execute(
            "SELECT parent_job, stage, position, parent_id, child_id, made, status, exit_code,"
            " job_id, job_cycle, stages FROM children ORDER BY parent_job, stage, position"
        )
        return [Child(*row) for row in found]

    def _check_open(self, child: Child) -> None:
        row = self._oracle.rows.get(child.child_id)
        name = f"{child.parent_id} waits for {child.child_id}"
        if row is None or row.status in ENDED:
            self._wrong(Invariant.AWAITED_LIVE, f"{name}, which is over")
        elif not row.awaited:
            self._wrong(Invariant.AWAITED_LIVE, f"{name}, which does not know")
        if child.made and not self._waits(child):
            self._wrong(
                Invariant.CHILDREN_ARE_CLOSED,
                f"{child.child_id} is left open by {child.parent_id}, which waits no more",
            )

    def _waits(self, child: Child) -> bool:
        row = self._oracle.rows.get(child.parent_id)
        if row is None or (row.job_id, row.stage) != child.wait:
            return False
        return TaskStatus.WAITING in (row.status, row.held)

    def _check_left_alone(self, children: list[Child]) -> None:
        """A child that a stage made and that had not ended is still noted, or has ended."""
        noted = {child.child_id for child in children if child.status is None}
        ended = {(c.wait, c.position, c.child_id) for c in children if c.status is not None}
        for child in self._children:
            if not child.made or child.status is not None or child.child_id in noted:
                continue
            row = self._oracle.rows.get(child.child_id)
            known = (child.wait, child.position, child.child_id) in ended
            if row is not None and row.open and not known:
                self._wrong(
                    Invariant.CHILDREN_ARE_CLOSED,
                    f"{child.child_id} is left alone by {child.parent_id}, and open",
                )

    def _check_result(
        self, wait: Wait, reported: list[_Outcome], mine: list[Child], cancelled: set[str]
    ) -> None:
        """A child that was still open may be cancelled in the same transaction, by the parent that
        created it and now waits no more."""
        expected = [(child.child_id, child.status, child.exit_code) for child in mine]
        as_reported = [
            (one.id, child.status, child.exit_code)
            if one.status is None and one.id in cancelled
            else (one.id, one.status, one.exit_code)
            for one, child in zip(reported, mine, strict=False)
        ]
        if len(reported) != len(mine) or as_reported != expected:
            self._wrong(
                Invariant.CHILDREN_AS_ENDED,
                f"children of {wait} are in the result as {reported}, but are {expected}",
            )
            return
        for one, child in zip(reported, mine, strict=True):
            if one.result is not None and child.job_id is not None:
                done = self._oracle.results.get((child.job_id, child.job_cycle or 0), {})
                stored = [done[stage] for stage in range(child.stages or 0) if stage in done]
                if one.id in self._oracle.rows and [bytes(raw) for raw in one.result] != stored:
                    self._wrong(
                        Invariant.CHILDREN_AS_ENDED,
                        f"child {one.id} of {wait} has the result {one.result}, not {stored}",
                    )

    def compare_runs(self) -> None:
        """At the end: what was noted of children is what their runs came to."""
        runs = {
            job_id: (status, exit_code)
            for job_id, status, exit_code in self._db.execute(
                "SELECT job_id, status, exit_code FROM runs WHERE job_id IS NOT NULL"
            )
        }
        for child in self._read_children():
            if child.job_id in runs and child.child_id not in self._oracle.deleted:
                noted = (child.status, child.exit_code)
                if runs[child.job_id] != noted:
                    self._wrong(
                        Invariant.CHILDREN_AS_ENDED,
                        f"{child} was noted, but its run is {runs[child.job_id]}",
                    )

    # -- pauses --------------------------------------------------------------------------------

    def _pauses(self) -> list[Pause]:
        found = self._db.execute("SELECT body FROM pauses ORDER BY id")
        return [_pause(body) for (body,) in found]

    def _paused(self, steps: list[Step]) -> None:
        pauses = self._pauses()
        since, now = self._pauses_since, self._oracle.epoch + self._oracle.now
        self._pauses_since = {pause.id: since.get(pause.id, now) for pause in pauses}
        for step in steps:
            row = step.row
            known, self._epochs[row.id] = self._epochs.get(row.id, 0), row.epoch
            if row.status is not TaskStatus.EXECUTED or row.epoch == known:
                continue
            definition = self._oracle.definitions[row.id]
            for pause in pauses:
                if row.status_change < self._pauses_since[pause.id]:
                    continue  # a commit that becomes visible late
                if is_active(pause, row.status_change) and _holds(pause, definition, row.stage):
                    self._wrong(
                        Invariant.PAUSES_HOLD,
                        f"task {row.id} is acquired, though {pause.id} holds it",
                    )

    # -- what may not stand for long -------------------------------------------------------------

    def stuck(self, now: float) -> Iterator[Stuck]:
        """What must not be so for long in calm.

        :param now: virtual seconds
        """
        pauses = self._pauses()
        active = {pause.id for pause in pauses if is_active(pause, self._oracle.epoch + now)}
        for row in self._oracle.rows.values():
            if row.gate is not None and row.gate.startswith("p:"):
                self._oracle.count("waits for a pause")
                if row.gate[2:] not in active:
                    yield (
                        Invariant.GATES_OPEN,
                        ("paused", row.id, row.version),
                        f"{row.id} stands at {row.gate}: over",
                    )
        yield from self._should_stop(pauses, now)
        left = {child.wait for child in self._children if child.status is None}
        for row in self._oracle.rows.values():
            waits = row.status is TaskStatus.WAITING and row.reason == "tasks"
            if waits and (row.job_id, row.stage) not in left:
                yield (
                    Invariant.WAITS_FOR_SOMEBODY,
                    ("waits", row.id, row.version),
                    f"{row.id} waits for nobody",
                )
        for seq, task_id in self._db.execute("SELECT seq, task_id FROM signals"):
            yield Invariant.SIGNALS_ARE_TAKEN, ("signal", seq), f"a signal for {task_id} is left"

    def _should_stop(self, pauses: list[Pause], now: float) -> Iterator[Stuck]:
        """A pause that stops what runs has not stopped what ran before it was made."""
        for pause in pauses:
            if not pause.stop_running or not is_active(pause, self._oracle.epoch + now):
                continue
            for row in self._oracle.rows.values():
                executed = row.status is TaskStatus.EXECUTED
                if executed and _holds(pause, self._oracle.definitions[row.id], row.stage):
                    key = ("runs", pause.id, row.id, row.epoch, row.stage)
                    yield (
                        Invariant.PAUSES_STOP,
                        key,
                        f"{row.id} runs, though {pause.id} stops what runs",
                    )


def _is_claiming(row: Row, definition: Definition) -> bool:
    unique = definition.unique
    if unique is None:
        return False
    if unique.scope == "active":
        return row.status not in ENDED
    return row.status in NOT_STARTED and row.run_started_at is None


def is_active(pause: Pause, now: float) -> bool:
    """:param now: UNIX seconds"""
    if pause.until is not None and now >= pause.until:
        return False
    if pause.cron is None:
        return True
    period = int(pause.cron.rpartition("/")[2])
    return now % period < (pause.duration or 0.0)


def _holds(pause: Pause, definition: Definition, stage: int) -> bool:
    method = definition.commands[stage].method
    return (
        pause.app_name in (None, definition.app_name)
        and pause.group in (None, definition.group)
        and (pause.method is None or fnmatch.fnmatchcase(method, pause.method))
    )

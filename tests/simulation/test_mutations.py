"""The simulation finds bugs: each of these is planted, and breaks the invariant that it names."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

import pytest

from kaiju_tasks.executor.session import Session as ExecutorSession
from kaiju_tasks.executor.stage import Stage
from kaiju_tasks.executor.start_gate import StartGate
from kaiju_tasks.lifecycle import Cause, Definition, Row, Step, TaskState
from kaiju_tasks.lifecycle import clock_step as lifecycle_clock_step
from kaiju_tasks.lifecycle.events import MessageCame, Reset, RestartFrom, RunNow
from kaiju_tasks.lifecycle.handlers import due, inbox, operators
from kaiju_tasks.lifecycle.lineage import chained
from kaiju_tasks.lifecycle.move import Move
from kaiju_tasks.lifecycle.schedule import keep_last_passed
from kaiju_tasks.manager.executors import placement, room, roster
from kaiju_tasks.manager.executors.acquisition import Acquisition
from kaiju_tasks.manager.executors.departures import Departures
from kaiju_tasks.manager.executors.reconciliation import Reconciliation
from kaiju_tasks.manager.executors.reports import Reports
from kaiju_tasks.manager.executors.room import Room
from kaiju_tasks.manager.executors.sessions import Session
from kaiju_tasks.manager.executors.uptime import Uptime
from kaiju_tasks.manager.pauses import PauseBook
from kaiju_tasks.manager.writing import batch, slots
from kaiju_tasks.manager.writing.accounts import Reservation
from kaiju_tasks.manager.writing.changes import Change
from kaiju_tasks.manager.writing.children import ChildTasks
from kaiju_tasks.manager.writing.committer import Committer
from kaiju_tasks.manager.writing.inserts import Inserts
from kaiju_tasks.manager.writing.placing import Placement
from kaiju_tasks.manager.writing.starts import Starts
from kaiju_tasks.protocol import Ack, AckState, ConnectParams, Lease, Report
from kaiju_tasks.store import clock_step
from kaiju_tasks.store.base import ExecutorRow, Transaction
from kaiju_tasks.store.presumed import Presumed
from kaiju_tasks.store.sqlite import presuming, saving
from kaiju_tasks.store.sqlite import store as sqlite_store
from kaiju_tasks.types import ENDED, Outcome
from tests.simulation import tied, workload
from tests.simulation.invariants import Invariant
from tests.simulation.world import simulate

SEEDS = range(200)


class Plant:
    """Puts bugs in the place of functions, each of which can be called as the original one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def __call__(self, owner: Any, name: str, bug: Callable[..., Any]) -> None:
        original = getattr(owner, name)
        assert _called_as(bug) == _called_as(original), f"{name} is called in another way"
        self._monkeypatch.setattr(owner, name, bug)

    def value(self, owner: Any, name: str, value: Any) -> None:
        """Change a constant, so that its bug is not rare."""
        self._monkeypatch.setattr(owner, name, value)


def _called_as(function: Callable[..., Any]) -> tuple[bool, list[tuple[str, Any, Any]]]:
    parameters = inspect.signature(function).parameters.values()
    known = [(one.name, one.kind, one.default) for one in parameters]
    return inspect.iscoroutinefunction(function), known


def acknowledges_before_the_commit(plant: Plant) -> None:
    write = Reports.write

    async def hasty(self: Reports, reports: Sequence[Report], session: Session | None) -> list[Ack]:
        asyncio.get_running_loop().create_task(write(self, reports, session))
        return [Ack(AckState.OK) for _ in reports]

    plant(Reports, "write", hasty)


def takes_reports_under_any_lease(plant: Plant) -> None:
    def holds(self: Move, lease: Lease) -> bool:
        return self.row.id == lease.id and self.row.job_id == lease.job_id

    plant(Move, "holds", holds)


def waits_for_ever_for_the_answers_of_a_lost_connection(plant: Plant) -> None:
    def lose_all(self: ExecutorSession) -> None:
        self.lost = True
        self._asked.clear()

    plant(ExecutorSession, "_lose_all", lose_all)


def begins_what_waited_while_it_stood_still(plant: Plant) -> None:
    def enough(self: StartGate) -> float:
        return 1.0

    plant(StartGate, "seconds_left", enough)


def expels_right_after_an_outage(plant: Plant) -> None:
    def at_once(self: Uptime) -> float:
        return 0.0

    plant(Uptime, "seconds_until_expel", at_once)


def expels_after_an_outage_whom_it_saw_go_before(plant: Plant) -> None:
    def all_of_them(self: Departures, seconds_reached: float) -> list[Any]:
        return list(self._departed.values())

    plant(Departures, "_since", all_of_them)


def forgets_what_it_leased_when_the_commit_was_in_doubt(plant: Plant) -> None:
    async def none(self: Acquisition, tx: Transaction) -> list[Any]:
        return []

    plant(Acquisition, "_leased_before", none)


def forgets_what_it_placed_when_the_commit_was_in_doubt(plant: Plant) -> None:
    async def none(self: placement.Placement) -> None:
        return None

    plant(placement.Placement, "_find_leases", none)


def places_tasks_that_wait_for_a_slot(plant: Plant) -> None:
    def any_of_them(change: Change) -> bool:
        return change.step.row.ready == 1 and change.before is None

    plant(placement, "_is_ready", any_of_them)


def sends_what_it_placed_before_the_commit(plant: Plant) -> None:
    assign = placement.Placement.assign

    async def hasty(self: placement.Placement, changes: Iterable[Change]) -> None:
        await assign(self, changes)
        self.send()

    plant(placement.Placement, "assign", hasty)


def looks_again_while_its_commit_is_in_doubt(plant: Plant) -> None:
    async def at_once(self: Committer, ids: Iterable[str]) -> None:
        return

    plant(Committer, "_fence", at_once)


def looks_only_for_what_has_ended(plant: Plant) -> None:
    looks_again_while_its_commit_is_in_doubt(plant)

    async def nothing(self: Reconciliation, session: Session) -> None:
        return

    plant(Reconciliation, "_give_back_unsent", nothing)


def does_not_listen_to_what_executors_hold(plant: Plant) -> None:
    def nothing(self: Reconciliation, session: Session, holding: Sequence[Lease]) -> None:
        return

    plant(Reconciliation, "heard", nothing)


def lets_executors_oversleep(plant: Plant) -> None:
    """What executors may do: it breaks nothing."""

    def oversleep(self: Stage) -> None:
        return

    plant(Stage, "_deadline", oversleep)


def leaves_the_time_of_stages_to_executors(plant: Plant) -> None:
    lets_executors_oversleep(plant)

    def of_the_run(row: Row) -> float:
        assert row.exec_deadline is not None
        return row.exec_deadline

    plant(due, "_lease_deadline", of_the_run)


def sends_by_tasks_and_not_by_bytes(plant: Plant) -> None:
    plant.value(room, "UNTAKEN_BYTES", 1_000)

    def any_size(self: Room, state: TaskState) -> bool:
        self._tasks -= 1
        return True

    plant(Room, "take", any_size)


def waits_for_ever_for_a_socket(plant: Plant) -> None:
    plant.value(room, "UNTAKEN_BYTES", 1_000)

    def deaf(self: Session, size: int) -> None:
        self.untaken -= size

    plant(Session, "taken", deaf)


def begins_a_run_twice(plant: Plant) -> None:
    def never(move: Move, event: Reset | RunNow | RestartFrom) -> bool:
        return False

    def undecided(entry: Any, tried: Step, state: Any) -> bool:
        return False

    plant(operators, "_began_before", never)
    plant(batch, "resolve_in_doubt", undecided)


def starts_no_next_task(plant: Plant) -> None:
    async def follow(
        self: Starts, tx: Transaction, changes: Iterable[Change], chain: int
    ) -> list[Change]:
        return []

    plant(Starts, "follow", follow)


def follows_circles_without_end(plant: Plant) -> None:
    plant.value(workload, "RINGS", 1.0)

    def blind(cause: Cause, target: str) -> str | None:
        return chained(Cause(cause.by, cause.root, cause.depth, starts=cause.starts), target)

    plant(due, "chained", blind)


def writes_what_it_presumes(plant: Plant) -> None:
    """It does not compare the rows that a manager remembers with those that are stored."""
    write = presuming.write_presumed

    def blind(db: Any, presumed: Presumed) -> bool:
        if presumed.inserted:
            return write(db, presumed)
        saving.save_kept(db, presumed.saved)
        return True

    plant(sqlite_store, "write_presumed", blind)


def publishes_events_before_the_commit(plant: Plant) -> None:
    commit = Committer._commit

    async def hasty(
        self: Committer,
        work: Callable[[Transaction], Awaitable[Any]],
        placement: Placement,
        reservation: Reservation,
        presume: bool,
        in_doubt: Callable[[], None],
        ready: Sequence[Row] = (),
    ) -> Any:
        async def published(tx: Transaction) -> Any:
            written = await work(tx)
            self._publish(written.changes)
            return written

        return await commit(self, published, placement, reservation, presume, in_doubt, ready)

    plant(Committer, "_commit", hasty)


def keeps_the_slot_of_a_lost_executor(plant: Plant) -> None:
    add = slots._Tally.add

    def forgetful(self: slots._Tally, change: Change) -> None:
        if not any(attempt.outcome == Outcome.LOST for attempt in change.step.attempts):
            add(self, change)

    plant(slots._Tally, "add", forgetful)


def lets_nobody_into_the_place_of_a_cancelled_task(plant: Plant) -> None:
    add = slots._Tally.add

    def forgetful(self: slots._Tally, change: Change) -> None:
        if change.before is None or not change.before.ready or change.step.row.open:
            add(self, change)

    plant(slots._Tally, "add", forgetful)


def notes_no_end_for_parents(plant: Plant) -> None:
    def nothing(db: Any, steps: Sequence[Step]) -> None:
        return

    plant(saving, "_signal", nothing)


def signals_no_parent(plant: Plant) -> None:
    many = saving._many

    def silent(db: Any, name: str, values: Iterable[tuple[Any, ...]]) -> None:
        if name != "signal_parents":
            many(db, name, values)

    plant(saving, "_many", silent)


def leaves_siblings_running_at_a_retry(plant: Plant) -> None:
    plant.value(tied, "TIES", {**tied.TIES, "children": 1.0})
    plant.value(tied, "WAITS", 0.9)
    abandoned = ChildTasks.abandoned

    async def lenient(self: ChildTasks, tx: Transaction, changes: Iterable[Change]) -> list[str]:
        return await abandoned(self, tx, [c for c in changes if not c.step.row.retries])

    plant(ChildTasks, "abandoned", lenient)


def opens_nothing_at_the_end_of_a_pause(plant: Plant) -> None:
    plant.value(tied, "TIES", {**tied.TIES, "pauses": 1.0})

    async def nobody(self: PauseBook, gate: str) -> int:
        return 0

    plant(PauseBook, "_open", nobody)


def acquires_by_the_pauses_it_knows(plant: Plant) -> None:
    plant.value(tied, "TIES", {**tied.TIES, "pauses": 1.0})

    async def as_known(self: PauseBook, tx: Transaction) -> None:
        return

    plant(PauseBook, "refresh", as_known)


def moves_no_times_when_the_clock_is_set(plant: Plant) -> None:
    def nothing(db: Any, step: float, now: float) -> None:
        return

    plant(sqlite_store, "apply_step", nothing)


def makes_up_for_an_hour_that_never_was(plant: Plant) -> None:
    def nothing(row: Row, definition: Definition, now: float) -> Row | None:
        return None

    plant(clock_step, "pass_over", nothing)


def leaves_a_first_run_before_the_fires_of_an_hour_that_never_was(plant: Plant) -> None:
    def leave(row: Row, definition: Definition, now: float) -> bool:
        return not row.explicit and keep_last_passed(row, definition, now)

    plant(lifecycle_clock_step, "keep_last_passed", leave)


def lets_a_late_connect_replace_a_newer_one(plant: Plant) -> None:
    def never(params: ConnectParams, known: ExecutorRow) -> bool:
        return False

    plant(roster, "_is_overtaken", never)


def creates_two_tasks_of_one_unique_key(plant: Plant) -> None:
    claim = Inserts._claim

    async def nobody(self: Inserts, tx: Transaction, drafts: Sequence[Any]) -> dict[str, str]:
        await claim(self, tx, drafts)
        return {}

    plant(Inserts, "_claim", nobody)


def forgets_the_messages_of_ended_runs(plant: Plant) -> None:
    def nothing(step: Step, now: float) -> list[tuple[Any, ...]]:
        return []

    plant(saving, "received_values", nothing)


def rejects_repeats_to_tasks_that_have_ended(plant: Plant) -> None:
    is_repeat = inbox._is_repeat

    def forgetful(move: Move, event: MessageCame) -> bool:
        return move.row.status not in ENDED and is_repeat(move, event)

    plant(inbox, "_is_repeat", forgetful)


def leases_to_executors_whatever_they_announce(plant: Plant) -> None:
    def nothing(self: Acquisition, states: Mapping[str, TaskState]) -> set[str]:
        return set()

    plant(Acquisition, "_lacking", nothing)


TRIED_FIRST: dict[Callable[[Plant], None], int] = {
    leases_to_executors_whatever_they_announce: 1,
    takes_reports_under_any_lease: 12,
    waits_for_ever_for_the_answers_of_a_lost_connection: 2,
    begins_what_waited_while_it_stood_still: 11,
    expels_right_after_an_outage: 2,
    expels_after_an_outage_whom_it_saw_go_before: 2,
    forgets_what_it_placed_when_the_commit_was_in_doubt: 18,
    lets_a_late_connect_replace_a_newer_one: 3,
    does_not_listen_to_what_executors_hold: 26,
    sends_by_tasks_and_not_by_bytes: 12,
    begins_a_run_twice: 3,
    writes_what_it_presumes: 7,
    notes_no_end_for_parents: 1,
    signals_no_parent: 1,
    opens_nothing_at_the_end_of_a_pause: 1,
    acquires_by_the_pauses_it_knows: 5,
    moves_no_times_when_the_clock_is_set: 1,
    makes_up_for_an_hour_that_never_was: 12,
    leaves_a_first_run_before_the_fires_of_an_hour_that_never_was: 12,
    forgets_the_messages_of_ended_runs: 2,
    rejects_repeats_to_tasks_that_have_ended: 2,
}
"""Seeds that find a bug which the first seed does not find. Another is found where the simulation
has changed, but later."""


@pytest.mark.parametrize(
    ("bug", "faults", "invariant"),
    [
        (leases_to_executors_whatever_they_announce, {}, Invariant.BEGUN_WHERE_ANNOUNCED),
        (acknowledges_before_the_commit, {}, Invariant.ACK_AFTER_COMMIT),
        (takes_reports_under_any_lease, {"twice": 0.5}, Invariant.HOLDER_REPORTS),
        (
            waits_for_ever_for_the_answers_of_a_lost_connection,
            {"cut": 0.02},
            Invariant.EXECUTED_IS_AT_WORK,
        ),
        (begins_what_waited_while_it_stood_still, {}, Invariant.BEGUN_IN_TIME),
        (expels_right_after_an_outage, {}, Invariant.SIGHT_BEFORE_JUDGEMENT),
        (expels_after_an_outage_whom_it_saw_go_before, {}, Invariant.SIGHT_BEFORE_JUDGEMENT),
        (
            forgets_what_it_leased_when_the_commit_was_in_doubt,
            {"unknown": 0.3},
            Invariant.NO_ERRORS_LOGGED,
        ),
        (
            forgets_what_it_placed_when_the_commit_was_in_doubt,
            {"unknown": 0.3},
            Invariant.NO_ERRORS_LOGGED,
        ),
        (places_tasks_that_wait_for_a_slot, {}, Invariant.LIMITS_HOLD),
        (sends_what_it_placed_before_the_commit, {}, Invariant.SENT_AFTER_COMMIT),
        (looks_again_while_its_commit_is_in_doubt, {"late": 0.3}, Invariant.NO_ERRORS_LOGGED),
        (looks_only_for_what_has_ended, {"late": 0.5}, Invariant.SENT_BEFORE_TIMEOUT),
        (lets_a_late_connect_replace_a_newer_one, {}, Invariant.NEWEST_CONNECT_COUNTS),
        (does_not_listen_to_what_executors_hold, {}, Invariant.EXECUTED_IS_HELD),
        (leaves_the_time_of_stages_to_executors, {}, Invariant.STAGES_END_IN_TIME),
        (sends_by_tasks_and_not_by_bytes, {"narrow": 5e3}, Invariant.CREDIT_IN_BYTES),
        (waits_for_ever_for_a_socket, {"narrow": 5e3}, Invariant.NO_IDLE_HANDS),
        (begins_a_run_twice, {"unknown": 0.3}, Invariant.RUNS_END_ONCE),
        (starts_no_next_task, {}, Invariant.NEXT_TASKS_START),
        (follows_circles_without_end, {}, Invariant.CIRCLES_END),
        (writes_what_it_presumes, {}, Invariant.VERSIONS_RISE),
        (publishes_events_before_the_commit, {}, Invariant.EVENTS_AFTER_COMMIT),
        (keeps_the_slot_of_a_lost_executor, {}, Invariant.SLOTS_ARE_COUNTED),
        (notes_no_end_for_parents, {}, Invariant.AWAITED_LIVE),
        (signals_no_parent, {}, Invariant.WAITS_FOR_SOMEBODY),
        (leaves_siblings_running_at_a_retry, {}, Invariant.CHILDREN_ARE_CLOSED),
        (opens_nothing_at_the_end_of_a_pause, {}, Invariant.GATES_OPEN),
        (acquires_by_the_pauses_it_knows, {"lost_wake": 0.5}, Invariant.PAUSES_HOLD),
        (creates_two_tasks_of_one_unique_key, {}, Invariant.KEYS_ARE_UNIQUE),
        (moves_no_times_when_the_clock_is_set, {}, Invariant.SPANS_ARE_KEPT),
        (makes_up_for_an_hour_that_never_was, {}, Invariant.JUMPED_FIRES_ARE_ONE),
        (
            leaves_a_first_run_before_the_fires_of_an_hour_that_never_was,
            {},
            Invariant.JUMPED_FIRES_ARE_ONE,
        ),
        (forgets_the_messages_of_ended_runs, {}, Invariant.MESSAGES_ONCE),
        (rejects_repeats_to_tasks_that_have_ended, {}, Invariant.REPEATS_ARE_KNOWN),
    ],
    ids=lambda value: value.__name__ if callable(value) else str(value),
)
def test_a_planted_bug_breaks_its_invariant(
    bug: Callable[[Plant], None],
    faults: dict[str, float],
    invariant: Invariant,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bug(Plant(monkeypatch))
    assert any(
        invariant in {one.invariant for one in simulate(seed, faults=faults).violations}
        for seed in (TRIED_FIRST.get(bug, 0), *SEEDS)
    )


def test_executors_that_oversleep_break_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    lets_executors_oversleep(Plant(monkeypatch))
    for seed in range(10):
        outcome = simulate(seed)
        assert not outcome.violations, outcome.report


def test_a_bug_that_is_called_in_another_way_is_not_planted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def narrow(self: Starts, tx: Transaction, changes: Iterable[Change]) -> list[Change]:
        return []

    def blocking(
        self: Starts, tx: Transaction, changes: Iterable[Change], chain: int
    ) -> list[Change]:
        return []

    for bug in (narrow, blocking):
        with pytest.raises(AssertionError, match="follow is called in another way"):
            Plant(monkeypatch)(Starts, "follow", bug)

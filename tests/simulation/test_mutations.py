"""The simulation finds bugs: each of these is planted, and some seed must come upon it."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from kaiju_tasks.executor.session import Session
from kaiju_tasks.lifecycle.handlers import operators
from kaiju_tasks.lifecycle.move import Move
from kaiju_tasks.manager.executors.acquisition import Acquisition
from kaiju_tasks.manager.executors.reports import Reports
from kaiju_tasks.manager.executors.uptime import Uptime
from kaiju_tasks.manager.pauses import PauseBook
from kaiju_tasks.manager.writing import batch, slots
from kaiju_tasks.manager.writing.changes import Change
from kaiju_tasks.manager.writing.children import Family
from kaiju_tasks.manager.writing.committer import Committer
from kaiju_tasks.manager.writing.consequences import Consequences
from kaiju_tasks.manager.writing.inserts import Inserts
from kaiju_tasks.protocol import Ack, AckState, Lease
from kaiju_tasks.store.sqlite import saving
from kaiju_tasks.types import Outcome
from tests.simulation.world import simulate

SEEDS = range(200)


def acks_before_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    write = Reports.write

    async def hasty(self: Reports, reports: Any, session: Any) -> list[Ack]:
        asyncio.get_running_loop().create_task(write(self, reports, session))
        return [Ack(AckState.OK) for _ in reports]

    monkeypatch.setattr(Reports, "write", hasty)


def takes_reports_under_any_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    def holds(self: Move, lease: Lease) -> bool:
        return self.row.id == lease.id and self.row.job_id == lease.job_id

    monkeypatch.setattr(Move, "holds", holds)


def waits_for_ever_for_the_answers_of_a_lost_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    def lose_all(self: Session) -> None:
        self.lost = True
        self._asked.clear()

    monkeypatch.setattr(Session, "_lose_all", lose_all)


def judges_right_after_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Uptime, "seconds_until_judge", lambda self: 0.0)


def forgets_what_it_leased_when_the_commit_was_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    async def none(*_: Any) -> list[Any]:
        return []

    monkeypatch.setattr(Acquisition, "_leased_before", none)


def begins_a_run_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operators, "_began_before", lambda move, event: False)
    monkeypatch.setattr(batch, "resolve_in_doubt", lambda entry, tried, row: False)


def leaves_the_next_task_to_another_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    async def save(self: Consequences, tx: Any, changes: Any, slots: Any) -> None:
        await tx.save([change.step for change in changes if change.before is not None])

    monkeypatch.setattr(Consequences, "save", save)


def tells_events_before_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    commit = Committer._commit

    async def hasty(self: Committer, work: Any) -> Any:
        async def published(tx: Any) -> Any:
            written = await work(tx)
            self._publish(written.changes)
            return written

        return await commit(self, published)

    monkeypatch.setattr(Committer, "_commit", hasty)


def keeps_the_slot_of_a_lost_executor(monkeypatch: pytest.MonkeyPatch) -> None:
    add = slots._Tally.add

    def forgetful(self: slots._Tally, change: Change) -> None:
        if not any(attempt.outcome == Outcome.LOST for attempt in change.step.attempts):
            add(self, change)

    monkeypatch.setattr(slots._Tally, "add", forgetful)


def lets_nobody_into_the_place_of_a_cancelled_task(monkeypatch: pytest.MonkeyPatch) -> None:
    add = slots._Tally.add

    def forgetful(self: slots._Tally, change: Change) -> None:
        if change.before is None or not change.before.ready or change.step.row.open:
            add(self, change)

    monkeypatch.setattr(slots._Tally, "add", forgetful)


def tells_no_parent_of_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving, "_tell", lambda db, steps: None)


def signals_no_parent_of_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    many = saving._many

    def silent(db: Any, name: str, values: Any) -> None:
        if name != "signal_parents":
            many(db, name, values)

    monkeypatch.setattr(saving, "_many", silent)


def leaves_siblings_running_at_a_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    abandoned = Family.abandoned

    async def lenient(self: Family, tx: Any, changes: Any) -> list[str]:
        return await abandoned(self, tx, [c for c in changes if not c.step.row.retries])

    monkeypatch.setattr(Family, "abandoned", lenient)


def opens_nothing_at_the_end_of_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nobody(self: PauseBook, gate: str) -> int:
        return 0

    monkeypatch.setattr(PauseBook, "_open", nobody)


def acquires_by_the_pauses_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    async def as_known(self: PauseBook, tx: Any) -> None:
        return

    monkeypatch.setattr(PauseBook, "refresh", as_known)


def makes_two_tasks_of_one_unique_key(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nobody(self: Inserts, tx: Any, drafts: Any) -> dict[str, str]:
        await claim(self, tx, drafts)
        return {}

    claim = Inserts._claim
    monkeypatch.setattr(Inserts, "_claim", nobody)


@pytest.mark.parametrize(
    ("plant", "faults"),
    [
        (acks_before_the_commit, {}),
        (takes_reports_under_any_lease, {"cut": 0.1}),
        (waits_for_ever_for_the_answers_of_a_lost_connection, {"cut": 0.02}),
        (judges_right_after_an_outage, {}),
        (forgets_what_it_leased_when_the_commit_was_in_doubt, {"unknown": 0.3}),
        (begins_a_run_twice, {"unknown": 0.3}),
        (leaves_the_next_task_to_another_transaction, {}),
        (tells_events_before_the_commit, {}),
        (keeps_the_slot_of_a_lost_executor, {}),
        (lets_nobody_into_the_place_of_a_cancelled_task, {}),
        (tells_no_parent_of_an_end, {}),
        (signals_no_parent_of_an_end, {}),
        (leaves_siblings_running_at_a_retry, {}),
        (opens_nothing_at_the_end_of_a_pause, {}),
        (acquires_by_the_pauses_it_knows, {}),
        (makes_two_tasks_of_one_unique_key, {}),
    ],
)
def test_a_planted_bug_is_found(
    plant: Callable[[pytest.MonkeyPatch], None],
    faults: dict[str, float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant(monkeypatch)
    assert any(simulate(seed, faults=faults).violations for seed in SEEDS)

"""The use of one principal: pure."""

from typing import Any

import pytest

from kaiju_tasks.errors import QuotaExceeded
from kaiju_tasks.lifecycle import Row
from kaiju_tasks.manager.writing.account import Account, is_open
from kaiju_tasks.rights import NO_QUOTAS, Kind, Quotas, quotas_of
from kaiju_tasks.types import TaskStatus

DEFAULTS = Quotas(open_tasks=10, creates_per_second=2.0, pauses=3)


def account(now: float = 0.0, **quotas: float) -> Account:
    return Account("ann", Quotas(**quotas).or_else(NO_QUOTAS), now)  # type: ignore[arg-type]


def row(status: TaskStatus = TaskStatus.QUEUED, next_run: float | None = None) -> Row:
    return Row(
        id="t",
        app_name="a",
        priority=0,
        status=status,
        enabled=True,
        stages=1,
        status_change=0.0,
        rev=1,
        next_run=next_run,
    )


def refused(one: Account, tasks: int, now: float = 0.0) -> dict[str, Any]:
    with pytest.raises(QuotaExceeded) as caught:
        check(one, tasks, now)
    assert (caught.value.code, caught.value.data["type"]) == (429, "too_many_requests")
    data: dict[str, Any] = caught.value.data
    return data


def check(one: Account, tasks: int, now: float = 0.0) -> None:
    one.check_open(tasks, 1.5)
    one.check_rate(tasks, now)


def create(one: Account, tasks: int, now: float = 0.0) -> None:
    check(one, tasks, now)
    for _ in range(tasks):
        one.committed(None, row(), now)


def test_a_principal_has_its_own_quotas_or_those_of_the_settings() -> None:
    assert quotas_of(Kind.USER, Quotas(), DEFAULTS) == DEFAULTS
    assert quotas_of(Kind.ADMIN, Quotas(), DEFAULTS) == NO_QUOTAS
    own = quotas_of(Kind.OPERATOR, Quotas(open_tasks=0, pauses=7), DEFAULTS)
    assert own == Quotas(open_tasks=0, creates_per_second=2.0, pauses=7)
    assert quotas_of(Kind.ADMIN, Quotas(pauses=7), DEFAULTS).pauses == 7


def test_no_quota_limits_nothing() -> None:
    one = account()
    create(one, 1_000_000 // 1000)
    check(one, 1_000_000)
    assert not one.due


def test_open_tasks_are_those_that_have_not_ended() -> None:
    assert all(
        is_open(row(status))
        for status in TaskStatus
        if status not in (TaskStatus.IDLE, TaskStatus.FINISHED, TaskStatus.FAILED)
    )
    assert is_open(row(TaskStatus.IDLE, 5.0))
    assert not is_open(row(TaskStatus.IDLE))
    assert not is_open(row(TaskStatus.FAILED, 5.0))


def test_open_tasks_are_bounded_and_an_end_makes_room() -> None:
    one = account(open_tasks=3)
    create(one, 2)
    data = refused(one, 2)
    assert (data["quota"], data["limit"], data["used"]) == ("open_tasks", 3, 2)
    assert data["retry_after"] == 1.5
    create(one, 1)
    refused(one, 1)
    one.committed(row(), row(TaskStatus.FINISHED), 0.0)
    create(one, 1)
    one.committed(row(), None, 0.0)
    one.committed(row(TaskStatus.FINISHED), None, 0.0)  # it was no open one
    assert one.open == 2


def test_what_transactions_have_reserved_is_used() -> None:
    one = account(open_tasks=3)
    one.reserved = 2
    assert refused(one, 2)["used"] == 2
    check(one, 1)


def test_a_count_takes_the_place_of_what_was_known() -> None:
    one = account(open_tasks=8)
    create(one, 3)
    one.counting()
    one.counted(5)
    assert (one.open, one.created) == (5, 0)
    one.counting()
    one.counted(1)
    assert one.open == 1


def test_what_changes_during_a_count_is_counted_once() -> None:
    for seen in (3, 4, 5):  # the count has seen none, one or both of the new tasks
        one = account(open_tasks=8)
        create(one, 3)
        one.counting()
        create(one, 2)
        one.counted(seen)
        assert one.open == 5
    for seen in (2, 3):
        one = account(open_tasks=8)
        create(one, 3)
        one.counting()
        one.committed(row(), row(TaskStatus.FINISHED), 0.0)
        one.counted(seen)
        assert one.open == 2


def test_a_count_that_sees_a_commit_before_the_manager_does_not_count_it_twice() -> None:
    one = account(open_tasks=8)
    create(one, 3)
    one.counting()
    one.reserved = 2
    one.counted(5)
    one.reserved = 0
    create(one, 2)
    assert one.open == 5


def test_what_other_managers_have_ended_during_a_count_makes_room() -> None:
    one = account(open_tasks=8)
    create(one, 8)
    one.counting()
    one.counted(6)
    create(one, 1)
    one.counting()
    create(one, 1)
    one.counted(2)
    assert one.open == 2


def test_a_principal_is_counted_again_when_it_is_near_its_quota_or_creates_much() -> None:
    one = account(open_tasks=80)
    assert one.due
    one.counting()
    one.counted(0)
    assert not one.due
    create(one, 9)
    assert not one.due
    create(one, 1)
    assert one.due
    assert not one.near
    one.counting()
    one.counted(63)
    assert not one.due
    one.counting()
    one.counted(64)
    assert one.near


def test_a_principal_saves_up_ten_seconds_and_then_has_its_rate() -> None:
    one = account(creates_per_second=2.0)
    create(one, 20)
    data = refused(one, 1)
    assert (data["quota"], data["limit"], data["used"]) == ("creates_per_second", 2.0, 2.0)
    assert data["retry_after"] == 0.5
    refused(one, 1, 0.4)
    create(one, 1, 0.5)
    refused(one, 1, 0.5)
    create(one, 20, 1000.0)
    refused(one, 1, 1000.0)


def test_a_call_larger_than_the_savings_takes_all_and_is_paid_back() -> None:
    one = account(creates_per_second=2.0)
    create(one, 30)
    assert refused(one, 1)["retry_after"] == 5.5
    assert refused(one, 30)["retry_after"] == 15.0
    create(one, 30, 15.0)


def test_a_slow_rate_allows_one_task_at_once() -> None:
    one = account(creates_per_second=0.01)
    create(one, 1)
    assert refused(one, 1)["retry_after"] == 100.0
    create(one, 1, 100.0)


def test_another_rate_holds_at_once() -> None:
    one = account(creates_per_second=1.0)
    create(one, 10)
    one.set_quotas(Quotas(creates_per_second=10.0).or_else(NO_QUOTAS), 0.0)
    assert refused(one, 1)["retry_after"] == 0.1
    one.set_quotas(NO_QUOTAS, 0.0)
    create(one, 1000)
    one.set_quotas(Quotas(creates_per_second=1.0).or_else(NO_QUOTAS), 5.0)
    create(one, 10, 5.0)
    refused(one, 1, 5.0)

"""Executors that come and go without useful work rest; all others do not."""

from collections.abc import Iterator

from kaiju_tasks.manager.executors import visits as module
from kaiju_tasks.manager.executors.visits import Visits
from tests.manager.hand import Calls, HandExecutor, released
from tests.support.wait import wait_until

NAME = "e1"


def rests(visits: Visits, *moments: float) -> list[float]:
    return [visits.came(NAME, moment) for moment in moments]


def circling(visits: Visits, number: int) -> Iterator[float]:
    """An executor whose connection ends 0.2 s after it gets tasks."""
    now = 100.0
    for _ in range(number):
        rest = visits.came(NAME, now)
        yield rest
        now += rest + 0.2


def test_the_rests_double_from_the_second_reconnect_on_up_to_a_limit() -> None:
    assert list(circling(Visits(), 9)) == [0, 0, 0.5, 1, 2, 4, 5, 5, 5]


def test_useful_work_ends_the_count() -> None:
    visits = Visits()
    assert rests(visits, 1, 2, 3) == [0, 0, 0.5]
    visits.worked(NAME)
    assert rests(visits, 4, 5, 6) == [0, 0, 0.5]
    visits.worked("another")
    assert rests(visits, 7) == [1]


def test_a_connection_that_lasts_ends_the_count() -> None:
    assert rests(Visits(), 1, 2, 3, 13.5, 14, 15) == [0, 0, 0.5, 0, 0, 0.5]


def test_each_executor_has_its_own_count() -> None:
    visits = Visits()
    rests(visits, 1, 2)
    assert visits.came("another", 2.5) == 0
    assert rests(visits, 3) == [0.5]


def test_an_executor_that_leaves_during_its_rest_rests_no_longer_for_it() -> None:
    """Otherwise one whose connection never lasts as long as a rest would get no tasks at all."""
    visits = Visits()
    assert rests(visits, 1, 2, 3, 4, 5) == [0, 0, 0.5, 1, 2]
    assert rests(visits, 5.5, 6.5) == [1.5, 0.5]
    assert visits.rest_of(NAME, 7) == 0
    assert rests(visits, 7.5) == [4]


def test_executors_that_went_long_ago_are_forgotten() -> None:
    visits = Visits()
    for number in range(100):
        visits.came(f"e{number}", float(number))
    assert len(visits._latest) <= module.LASTING_SECONDS


async def come_and_go(executor: HandExecutor, times: int) -> None:
    """Connect, and go after each push, as over a connection that breaks under its tasks."""
    for _ in range(times):
        await executor.connect()
        await executor.take()
        await executor.cut()


async def test_an_executor_that_circles_rests_and_then_gets_tasks(call: Calls) -> None:
    executor = HandExecutor(call.manager, "circles")
    await call.create("work")
    await come_and_go(executor, 2)
    await executor.connect()
    (session,) = call.manager.sessions
    assert session.resting
    assert session.free == 0
    assert executor.assigned.empty()
    await wait_until(lambda: not session.resting, "its rest ends")
    task = await executor.take()
    await executor.finish(task)
    await executor.cut()
    await executor.connect()
    (session,) = call.manager.sessions
    assert not session.resting


async def test_a_rest_is_not_ended_by_another_connect_over_the_same_connection(
    call: Calls,
) -> None:
    executor = HandExecutor(call.manager, "circles")
    for _ in range(3):
        await executor.connect()
        await executor.cut()
    await executor.connect()
    await executor.connect()
    assert [session.resting for session in call.manager.sessions] == [True]


async def test_giving_back_is_no_work_and_leaving_in_good_order_is_no_circle(call: Calls) -> None:
    executor = HandExecutor(call.manager, "leaves")
    await call.create("work")
    for _ in range(2):
        await executor.connect()
        await executor.report(released(await executor.take()))
        await executor.cut()
    await executor.connect()
    assert [session.resting for session in call.manager.sessions] == [True]
    for _ in range(3):
        await executor.call("manager.suspend_executor", id="leaves")
        await executor.cut()
        await executor.connect()
        assert [session.resting for session in call.manager.sessions] == [False]

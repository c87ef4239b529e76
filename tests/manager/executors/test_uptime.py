"""A manager judges others only after a full lease of unbroken sight."""

import pytest

from kaiju_tasks.manager.executors.uptime import Uptime
from tests.support.clock import HandClock


@pytest.fixture
def clock() -> HandClock:
    return HandClock(100.0)


@pytest.fixture
def uptime(clock: HandClock) -> Uptime:
    return Uptime(15.0, 15.0, clock)


def test_a_manager_that_has_not_reached_the_database_judges_nobody(uptime: Uptime) -> None:
    assert uptime.seconds_until_expel() == 15.0


def test_it_judges_after_one_full_lease(clock: HandClock, uptime: Uptime) -> None:
    uptime.reached(True)
    clock.now += 10
    uptime.reached(True)
    assert uptime.seconds_until_expel() == 5.0
    clock.now += 5
    assert uptime.seconds_until_expel() == 0.0


def test_time_that_a_test_moves_counts_as_time_without_an_outage(uptime: Uptime) -> None:
    uptime.time_moved(15)
    assert uptime.seconds_until_expel() == 15.0
    uptime.reached(True)
    uptime.time_moved(5)
    assert uptime.seconds_until_expel() == pytest.approx(10.0)
    assert uptime.seconds_reached() == 5.0


def test_an_outage_begins_the_lease_again(clock: HandClock, uptime: Uptime) -> None:
    uptime.reached(True)
    clock.now += 15
    uptime.reached(False)
    assert not uptime.connected
    uptime.reached(True)
    assert uptime.seconds_until_expel() == 15.0


def test_a_manager_that_was_frozen_was_away(clock: HandClock, uptime: Uptime) -> None:
    uptime.reached(True)
    clock.now += 15
    assert uptime.seconds_until_expel() == 0.0
    clock.now += 3600
    assert uptime.seconds_until_expel() == 15.0
    uptime.reached(True)
    assert uptime.seconds_until_expel() == 15.0

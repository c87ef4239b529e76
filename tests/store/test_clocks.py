"""Clocks that do not step, on their own."""

import pytest

from kaiju_tasks.store.clock import STEP_SECONDS, SteadyClock
from kaiju_tasks.store.postgres.clock import ClockStepped, DatabaseClock


class Hands:
    """A wall clock and a steady one that a test moves."""

    wall = 1000.0
    steady = 5.0

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.mark.parametrize("step", [3600.0, -3600.0])
def test_a_step_is_noticed_and_not_followed_until_it_is_applied(hands: Hands, step: float) -> None:
    clock = SteadyClock(lambda: hands.wall, lambda: hands.steady)
    hands.pass_by(10.0)
    hands.wall += step
    assert clock() == 1010.0
    assert clock.step() == clock.step() == step
    assert clock() == 1010.0
    clock.apply(step)
    assert (clock(), clock.step()) == (1010.0 + step, 0.0)


def test_a_small_difference_is_followed(hands: Hands) -> None:
    clock = SteadyClock(lambda: hands.wall, lambda: hands.steady)
    for _ in range(5):
        hands.wall += STEP_SECONDS / 2
        assert clock.step() == 0.0
        assert clock() == hands.wall


def test_a_process_that_is_stopped_between_two_readings_sees_no_step(hands: Hands) -> None:
    stop = 0.0

    def wall() -> float:
        read = hands.wall
        hands.pass_by(stop)
        return read

    clock = SteadyClock(wall, lambda: hands.steady)
    stop = 100.0
    assert clock.step() == 0.0
    stop = 0.0
    assert clock.step() == 0.0
    assert clock() == hands.wall


@pytest.fixture
def database(hands: Hands) -> DatabaseClock:
    clock = DatabaseClock(lambda: hands.steady)
    clock.seen(hands.wall, hands.steady)
    return clock


@pytest.mark.parametrize("step", [3600.0, -3600.0])
def test_a_step_of_the_database_is_noticed_at_each_reading(
    hands: Hands, database: DatabaseClock, step: float
) -> None:
    hands.wall += step
    for _ in range(2):
        with pytest.raises(ClockStepped):
            database.seen(hands.wall, hands.steady)
    assert database.step(hands.wall, hands.steady) == step
    assert database.now() == 1000.0
    database.apply(hands.wall, hands.steady)
    database.seen(hands.wall, hands.steady)
    assert database.now() == hands.wall


@pytest.mark.parametrize("read_first", [True, False])
def test_a_slow_answer_is_no_step(hands: Hands, database: DatabaseClock, read_first: bool) -> None:
    asked_at, read = hands.steady, hands.wall
    hands.pass_by(600.0)
    database.seen(read if read_first else hands.wall, asked_at)
    assert database.now() == hands.wall
    database.seen(hands.wall, hands.steady)

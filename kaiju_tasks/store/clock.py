"""Clocks that do not step while a manager runs, and the steps of the clocks that they follow."""

import time
from collections.abc import Callable

from kaiju_tasks.steady import steady_seconds

STEP_SECONDS = 2.0
"""A larger difference to the followed clock is a step. A smaller one is followed at once."""

NOISE_SECONDS = 0.001


def wall_seconds() -> float:
    """The wall clock in UNIX seconds, which can be set."""
    return time.time()


def describe_step(step: float) -> str:
    """A log message about a step."""
    where = "forward" if step > 0 else "back"
    return (
        f"was set {where} by {abs(step):.1f} s: times that count from a moment move with it, "
        "schedules keep their times of day"
    )


class SteadyClock:
    """Follows another clock, except when that clock is set.

    :param followed: UNIX seconds
    :param steady: seconds that pass evenly
    """

    def __init__(
        self,
        followed: Callable[[], float] = wall_seconds,
        steady: Callable[[], float] = steady_seconds,
    ) -> None:
        self._followed = followed
        self._steady = steady
        self._ahead = followed() - steady()

    def __call__(self) -> float:
        return self._steady() + self._ahead

    def step(self) -> float:
        """By how many seconds the followed clock was set since the last call of `apply`; 0 if it
        was not. A small difference is followed."""
        before = self._steady()
        ahead = self._followed() - self._steady()
        uncertain = self._steady() - before
        step = ahead - self._ahead
        if abs(step) > STEP_SECONDS + uncertain:
            return step
        if abs(step) > NOISE_SECONDS and uncertain < STEP_SECONDS:
            self._ahead = ahead
        return 0.0

    def apply(self, step: float) -> None:
        """Take over a step."""
        self._ahead += step

"""Limits how many lines are logged each second about what can happen thousands of times."""

import logging

from kaiju_tasks.steady import steady_seconds

__all__ = ["LineBudget"]

LINES = 20
GRAVE_LINES = 100
"""The most lines of a second: at level info or below, and above."""
SECOND = 1.0


class LineBudget:
    """The lines that a logger may still write in this second. At level debug there is no limit.

    The first line after a second in which some were left out is preceded by one that counts them.
    """

    __slots__ = ("_grave_left", "_left", "_left_out", "_log", "_until")

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._left = LINES
        self._grave_left = GRAVE_LINES
        self._left_out = 0
        self._until = float("-inf")

    def admits(self, level: int) -> bool:
        """Whether to log a line now."""
        log = self._log
        if not log.isEnabledFor(level):
            return False
        if log.isEnabledFor(logging.DEBUG):
            return True
        if (now := steady_seconds()) >= self._until:
            self._begin(now)
        if level > logging.INFO:
            self._grave_left -= 1
            admitted = self._grave_left >= 0
        else:
            self._left -= 1
            admitted = self._left >= 0
        self._left_out += not admitted
        return admitted

    def is_spent(self) -> bool:
        """Whether no line at level info is admitted now. What writes many lines asks once."""
        log = self._log
        if not log.isEnabledFor(logging.INFO):
            return True
        return (
            self._left <= 0
            and steady_seconds() < self._until
            and not log.isEnabledFor(logging.DEBUG)
        )

    def leave_out(self, lines: int) -> None:
        """Count lines at level info that were not written, because the budget is spent."""
        if self._log.isEnabledFor(logging.INFO):
            self._left_out += lines

    def _begin(self, now: float) -> None:
        self._until = now + SECOND
        self._left, self._grave_left = LINES, GRAVE_LINES
        if self._left_out:
            left_out, self._left_out = self._left_out, 0
            self._log.info(
                "%d more lines like these were left out; level debug logs all of them", left_out
            )

"""How long ago a manager was last heard, and what follows from silence."""

from collections.abc import Callable

from kaiju_tasks.executor.clock import Clock, TimerHandle

__all__ = ["LeaseWatchdog"]

EXCLUSIVE_SHARE = 0.8
"""Runs under `concurrency` stop after this share of a lease, so that they end before it does."""


class LeaseWatchdog:
    """Calls back when no manager has answered for too long.

    :param on_lease_ending: most of a lease is over without an answer
    :param on_orphaned: `orphan_seconds` are over without an answer
    :ivar lease_seconds: as the manager said
    :ivar orphan_seconds: as the manager said
    """

    def __init__(
        self,
        clock: Clock,
        on_lease_ending: Callable[[], None],
        on_orphaned: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._calls = (on_lease_ending, on_orphaned)
        self._timers: list[TimerHandle] = []
        self.lease_seconds = 15.0
        self.orphan_seconds = 300.0

    def heard(self, asked_at: float) -> None:
        """A manager answered what was asked at this moment: leases count from then."""
        self.close()
        age = self._clock.time() - asked_at
        spans = (self.lease_seconds * EXCLUSIVE_SHARE, self.orphan_seconds)
        self._timers = [
            self._clock.call_later(max(0.0, span - age), call)
            for span, call in zip(spans, self._calls, strict=True)
        ]

    def close(self) -> None:
        """Stop watching."""
        for timer in self._timers:
            timer.cancel()
        self._timers = []

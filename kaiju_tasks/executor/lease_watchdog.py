"""Watches how long no manager has answered, and stops work before its leases end."""

from collections.abc import Callable

from kaiju_tasks.executor.clock import Clock, TimerHandle

__all__ = ["LeaseWatchdog"]

EXCLUSIVE_SHARE = 0.8
"""Runs with `concurrency` stop after this share of a lease, so that they end before the lease."""


class LeaseWatchdog:
    """Calls back when no manager has answered for too long.

    :param on_lease_ending: called when most of a lease has passed without an answer
    :param on_orphaned: called when `orphan_seconds` have passed without an answer
    :ivar lease_seconds: the setting of the manager
    :ivar orphan_seconds: the setting of the manager
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

    def renewed(self, asked_at: float) -> None:
        """Restart the timers: a manager has answered a request that was sent at `asked_at`, and
        leases count from then."""
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

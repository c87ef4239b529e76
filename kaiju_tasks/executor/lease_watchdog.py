"""Watches how long no manager has answered, and stops work before its leases end."""

from collections.abc import Callable

from kaiju_tasks.executor.clock import Clock, TimerHandle
from kaiju_tasks.executor.start_gate import Moment, StartGate

__all__ = ["LeaseWatchdog"]

SAFE_SHARE = 0.8
"""Stages begin, and runs with `concurrency` go on, only during this share of a lease, so that both
are over before the lease is. After the connection was closed, the lease is the reconnect grace."""
STALL_SHARE = 0.25
"""A process that stood still for this share of a lease may hold assignments that have ended."""
LOOKS_PER_STALL = 4
LOOK_SECONDS_MIN = 0.001


class LeaseWatchdog:
    """Looks at the clock at regular intervals, because timers stand still while a machine sleeps.

    :param gate: opened by answers, and shut when the process has stood still
    :param on_lease_ending: called when most of a lease has passed without an answer
    :param on_orphaned: called when the process has run for `orphan_seconds` without an answer
    :ivar orphan_seconds: the setting of the manager
    :ivar reconnect_grace: the setting of the manager: how long leases last after the connection was
        closed; None if they last as long as without
    """

    def __init__(
        self,
        clock: Clock,
        gate: StartGate,
        on_lease_ending: Callable[[], None],
        on_orphaned: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._gate = gate
        self._on_lease_ending = on_lease_ending
        self._on_orphaned = on_orphaned
        self._timer: TimerHandle | None = None
        self._lease_seconds = 0.0
        self._asked_at = float("-inf")
        self._still = 0.0
        self._ending = False
        self._closed_at: float | None = None
        self.orphan_seconds = 300.0
        self.reconnect_grace: float | None = None

    @property
    def lease_seconds(self) -> float:
        """The setting of the manager."""
        return self._lease_seconds

    @lease_seconds.setter
    def lease_seconds(self, seconds: float) -> None:
        self._lease_seconds = seconds
        self._gate.stall_seconds = seconds * STALL_SHARE

    def renewed(self, asked: Moment) -> None:
        """A manager has answered a request that was sent at `asked`; leases count from then."""
        if self._timer is None:
            self._gate.start()
        else:
            self._still += self._gate.beat()
        if asked.time >= self._asked_at:
            self._asked_at, self._still, self._ending = asked.time, 0.0, False
            self._closed_at = None
        self.close()
        self._wait()
        self._gate.renewed(asked, self._lease_seconds * SAFE_SHARE)

    def disconnected(self) -> None:
        """The connection to the manager that has accepted this executor was closed."""
        if self._timer is None or self._closed_at is not None:
            return
        self._closed_at = self._clock.time()
        if self.reconnect_grace is not None:
            self._gate.shorten(self.reconnect_grace * SAFE_SHARE)
        self.close()
        self._wait()

    def close(self) -> None:
        """Stop watching."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._still += self._gate.beat()
        silent = self._clock.time() - self._asked_at
        if silent - self._still >= self.orphan_seconds:
            self._timer = None
            self._on_orphaned()
            return
        if not self._ending and self._safe_seconds() <= 0:
            self._ending = True
            self._on_lease_ending()
        self._wait()

    def _wait(self) -> None:
        silent = self._clock.time() - self._asked_at
        left = [
            self.orphan_seconds + self._still - silent,
            self._gate.stall_seconds / LOOKS_PER_STALL,
        ]
        if not self._ending:
            left.append(self._safe_seconds())
        self._timer = self._clock.call_later(max(LOOK_SECONDS_MIN, min(left)), self._look)

    def _safe_seconds(self) -> float:
        """The seconds for which the leases are known to stand."""
        now = self._clock.time()
        left = self._asked_at + self._lease_seconds * SAFE_SHARE - now
        if self._closed_at is not None and self.reconnect_grace is not None:
            left = min(left, self._closed_at + self.reconnect_grace * SAFE_SHARE - now)
        return left

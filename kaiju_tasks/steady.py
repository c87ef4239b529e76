"""The clock of the machine that nobody can set."""

import time

_CLOCK = getattr(time, "CLOCK_BOOTTIME", None) or getattr(time, "CLOCK_MONOTONIC", None)


def steady_seconds() -> float:
    """Seconds that pass evenly, the same in all processes of this machine. They continue while the
    machine sleeps, if the system has such a clock."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)

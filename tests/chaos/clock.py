"""The wall clock of processes, which a fault sets.

`python -m tests.chaos.clock ARGUMENTS` is `kaiju-tasks ARGUMENTS` with such a clock.
"""

import mmap
import os
import struct
import time
from pathlib import Path

CLOCK = "CLOCK"
"""The environment variable that names the file of the clock."""

_AHEAD = struct.Struct("d")


class WallClock:
    """By how many seconds the wall clocks differ from that of the machine, in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(_AHEAD.pack(0.0))

    def set(self, seconds: float) -> None:
        """Set it forward, or back."""
        with self.path.open("r+b") as file:
            [ahead] = _AHEAD.unpack(file.read())
            file.seek(0)
            file.write(_AHEAD.pack(ahead + seconds))


def follow_clock() -> None:
    """Let `time.time` of this process follow the clock that the environment names, if any."""
    if CLOCK not in os.environ:
        return
    with Path(os.environ[CLOCK]).open("rb") as file:
        shared = mmap.mmap(file.fileno(), _AHEAD.size, access=mmap.ACCESS_READ)
    machine = time.time

    def wall() -> float:
        ahead: float = _AHEAD.unpack_from(shared)[0]
        return machine() + ahead

    time.time = wall


if __name__ == "__main__":
    from kaiju_tasks.cli import main

    follow_clock()
    main()

"""Measures the CPU time and the memory of processes on Linux."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

Groups = Mapping[str, Iterable[int]]

FIRST_FIELD = 3  # the state, which follows the name
USER, SYSTEM = 14, 15


def cpu_seconds(pid: int) -> float | None:
    """Return the CPU time that a process has used, in seconds to about 0.01; None if it cannot be
    read, for example on another system or because it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name may contain spaces
    ticks = int(fields[USER - FIRST_FIELD]) + int(fields[SYSTEM - FIRST_FIELD])
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int | None:
    """Return the memory that a process uses, shared pages included; None if it cannot be read."""
    try:
        text = Path(f"/proc/{pid}/statm").read_text()
    except OSError:
        return None
    return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE")


def is_named(pid: int, name: str) -> bool:
    """Return whether a process of this machine has this name; False if that cannot be read."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == name
    except OSError:
        return False


class Meter:
    """Measures the CPU time of groups of processes from its creation until `stop`.

    :param groups: process ids by the name of their group
    :ivar used: seconds by group, once stopped; without groups that cannot be read
    """

    def __init__(self, groups: Groups) -> None:
        self._before = _read(groups)
        self.used: dict[str, float] = {}

    def stop(self, groups: Groups) -> None:
        """Stop measuring.

        :param groups: the processes now; those that were not there before have started meanwhile,
            and those that have ended are not counted
        """
        for name, seconds in _read(groups).items():
            before = self._before.get(name, {})
            self.used[name] = sum(now - before.get(pid, 0.0) for pid, now in seconds.items())


def _read(groups: Groups) -> dict[str, dict[int, float]]:
    """Return the CPU time of each process that can be read; without empty groups."""
    found = {
        name: {pid: used for pid in pids if (used := cpu_seconds(pid)) is not None}
        for name, pids in groups.items()
    }
    return {name: seconds for name, seconds in found.items() if seconds}

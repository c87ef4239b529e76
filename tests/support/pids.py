"""Process ids: who is whose child, and who still lives."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")


def children_of(pid: int) -> list[int]:
    """The ids of the direct children of `pid`."""
    return [child for child, parent in _all_with_parents() if parent == pid]


def is_alive(pid: int) -> bool:
    """True unless `pid` is gone, or a zombie that nobody reaps."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    fields = _stat_fields(_PROC / str(pid) / "stat")
    return fields[0] not in "ZX" if fields else not _has_proc()


def kill_if_there(pid: int) -> None:
    """SIGKILL, or nothing if the process ended by itself meanwhile."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def wait_until_gone(pids: list[int], timeout: float) -> None:
    """Block until none of `pids` lives.

    :param timeout: seconds
    :raises TimeoutError: with the ids of those that still live
    """
    deadline = time.monotonic() + timeout
    while living := [pid for pid in pids if is_alive(pid)]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"still alive after {timeout:g} s: {living}")
        time.sleep(0.005)


def _all_with_parents() -> Iterator[tuple[int, int]]:
    if _has_proc():
        for stat in _PROC.glob("[0-9]*/stat"):
            if fields := _stat_fields(stat):
                yield int(stat.parent.name), int(fields[1])
        return
    ps = ["ps", "-A", "-o", "pid=,ppid="]
    for line in subprocess.run(ps, capture_output=True, text=True, check=True).stdout.splitlines():
        child, parent = line.split()
        yield int(child), int(parent)


def _stat_fields(stat: Path) -> list[str]:
    """State, parent, ... of a process; empty if it is gone."""
    try:
        return stat.read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _has_proc() -> bool:
    return (_PROC / "self" / "stat").exists()

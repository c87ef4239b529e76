"""Keeps the temporary files of a test run in memory, if there is enough.

Thousands of small databases are made, written with fsync, and deleted: on a disk, tests wait for it
a third of the time.
"""

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

__all__ = ["leave_memory", "use_memory"]

PLACE = Path("/dev/shm")
PREFIX = "kt-"
"""Short: the paths of sockets have at most 107 characters."""
NEEDED_BYTES = 8 * 1024**3
MEMORY = Path("/proc/meminfo")
LOCK = "lock"


_locks: list[int] = []
"""Held by this process until it ends, and by the processes that it forks."""


def use_memory() -> None:
    """Let this process and its children make temporary files in memory, unless TMPDIR is set."""
    if "TMPDIR" in os.environ or not _has_room():
        return
    _remove_left()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=PLACE))
    _locks.append(os.open(folder / LOCK, os.O_CREAT | os.O_WRONLY))
    fcntl.flock(_locks[0], fcntl.LOCK_EX)
    folder.chmod(0o755)
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)


def leave_memory() -> None:
    """Remove the files, if this process has begun to use memory."""
    if _locks:
        shutil.rmtree(os.environ["TMPDIR"], ignore_errors=True)


def _has_room() -> bool:
    if not PLACE.is_dir() or not MEMORY.exists():
        return False
    disk = os.statvfs(PLACE)
    if disk.f_flag & os.ST_NOEXEC or disk.f_bavail * disk.f_frsize < NEEDED_BYTES:
        return False
    lines = (line.split() for line in MEMORY.read_text().splitlines())
    available = next((int(words[1]) for words in lines if words[0] == "MemAvailable:"), 0)
    return available * 1024 >= 2 * NEEDED_BYTES


def _remove_left() -> None:
    """Remove the files of runs that were killed."""
    for folder in PLACE.glob(f"{PREFIX}*"):
        try:
            lock = os.open(folder / LOCK, os.O_WRONLY)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            continue
        finally:
            os.close(lock)

"""Keeps the temporary files of a test run in memory, if there is enough.

Thousands of small databases are made, written with fsync, and deleted: on a disk, tests wait for it
a third of the time.
"""

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


def use_memory() -> None:
    """Let this process and its children make temporary files in memory, unless TMPDIR is set."""
    if "TMPDIR" in os.environ or not _has_room():
        return
    _remove_left()
    folder = PLACE / f"{PREFIX}{os.getpid()}"
    folder.mkdir(mode=0o755)
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)


def leave_memory() -> None:
    """Remove the files, if this process has begun to use memory."""
    shutil.rmtree(PLACE / f"{PREFIX}{os.getpid()}", ignore_errors=True)


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
        number = folder.name.removeprefix(PREFIX)
        if number.isdecimal() and not Path("/proc", number).exists():
            shutil.rmtree(folder, ignore_errors=True)

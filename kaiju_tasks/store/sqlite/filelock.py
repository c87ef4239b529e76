"""One manager on one database file."""

import fcntl
import os
from pathlib import Path

from kaiju_tasks.store.base import StoreRefused, StoreUnavailable


class FileLock:
    """A lock beside a database file, which the system releases when the process ends."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._file: int | None = None

    def take(self) -> None:
        """:raises StoreRefused: another manager has it"""
        path = f"{self._database}.lock"
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StoreUnavailable(f"{path} cannot be opened: {error.strerror}.") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(file)
            raise StoreRefused(
                f"Another manager is using {self._database}. SQLite takes one manager: stop the "
                "other, give this one a file of its own, or use PostgreSQL for several."
            ) from error
        self._file = file

    def release(self) -> None:
        """The file stays: removing it would let a third process lock a new one of that name."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

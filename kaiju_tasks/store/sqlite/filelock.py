"""Locks a database file for one manager."""

import fcntl
import os
from pathlib import Path

from kaiju_tasks.store.base import StoreRefused, StoreUnavailable
from kaiju_tasks.store.sqlite.files import PRIVATE


class FileLock:
    """A lock file next to a database file. The system releases the lock when the process ends."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._file: int | None = None

    def take(self) -> None:
        """:raises StoreRefused: another manager holds the lock"""
        path = f"{self._database}.lock"
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
        except OSError as error:
            raise StoreUnavailable(f"{path} cannot be opened: {error.strerror}.") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(file)
            raise StoreRefused(
                f"Another manager is using {self._database}. SQLite supports one manager: stop "
                "the other one, use a different file, or use PostgreSQL for several managers."
            ) from error
        self._file = file

    def release(self) -> None:
        """Release the lock. The file stays: if it were removed, another process could lock a new
        file with the same name while a third one holds the old file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

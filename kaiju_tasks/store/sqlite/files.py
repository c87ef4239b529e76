"""Keeps the files of a database private: they contain arguments, results and webhook secrets."""

import os
import stat
from contextlib import suppress

from kaiju_tasks.store.base import StoreUnavailable

PRIVATE = 0o600
_SUFFIXES = ("", "-wal", "-shm", "-journal", ".lock")
"""SQLite gives the files beside the database the mode of the database."""


def make_private(path: str) -> None:
    """Create a database file that only its owner can read, or close an existing one to others.

    Files of another owner stay as they are: their modes cannot be changed, and reading them may
    have been granted on purpose.

    :raises StoreUnavailable: the file cannot be created
    """
    # An existing file is not opened: closing it would release the locks that SQLite has on it.
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE))
    except FileExistsError:
        pass
    except OSError as error:
        raise StoreUnavailable(f"{path} cannot be opened: {error.strerror}.") from error
    for suffix in _SUFFIXES:
        with suppress(FileNotFoundError):
            _close_to_others(path + suffix)


def _close_to_others(path: str) -> None:
    found = os.stat(path)
    mode = stat.S_IMODE(found.st_mode)
    if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and mode & ~PRIVATE:
        os.chmod(path, mode & PRIVATE)

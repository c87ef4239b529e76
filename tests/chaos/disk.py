"""A file system of its own for the database, which can be filled."""

import errno
import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Self

from tests.support.orphans import OrphanGuard

MEBIBYTES = 1024
PIECES = (64 << 20, 1 << 20, 1 << 12)


class Disk:
    """An ext4 file system in a file, mounted. Mounting needs root and a loop device.

    :ivar path: where it is mounted
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "disk"
        self._image = folder / "disk.img"
        self._filler = self.path / "filler"
        self._guard: OrphanGuard | None = None

    @classmethod
    def mounted(cls, folder: Path) -> Self | None:
        """Make one, or return None where that is not possible."""
        disk = cls(folder)
        if os.geteuid() != 0 or not all(map(shutil.which, ("mkfs.ext4", "mount"))):
            return None
        disk.path.mkdir()
        with disk._image.open("wb") as image:
            image.truncate(MEBIBYTES << 20)
        _run("mkfs.ext4", "-q", "-F", "-m", "0", disk._image)
        try:
            _run("mount", "-o", "loop", disk._image, disk.path)
        except subprocess.CalledProcessError:
            return None
        disk._guard = OrphanGuard(
            'umount --lazy "$1"; rm -f "$2"', str(disk.path), str(disk._image)
        )
        disk.path.chmod(0o777)
        return disk

    def fill(self) -> None:
        """Take all the space that is left."""
        with self._filler.open("ab") as filler:
            for size in PIECES:
                with suppress(_NoSpace):
                    while True:
                        _extend(filler.fileno(), size)

    def free(self) -> None:
        """Give the space back."""
        self._filler.unlink(missing_ok=True)

    def close(self) -> None:
        assert self._guard is not None
        _run("umount", self.path)
        self._image.unlink()
        self._guard.release()


class _NoSpace(Exception):
    """The disk is full."""


def _extend(file: int, size: int) -> None:
    try:
        os.posix_fallocate(file, os.fstat(file).st_size, size)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise _NoSpace from error
        raise


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True)

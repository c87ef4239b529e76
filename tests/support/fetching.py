"""Programs that the tests need and the machine lacks, fetched as a wheel or by apt."""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


class CannotFetch(RuntimeError):
    """It cannot be fetched in this way on this machine."""


FETCH_ERRORS = (OSError, CannotFetch, subprocess.CalledProcessError)


class Fetcher:
    """Fetches one program.

    :param name: stands before each line on stderr
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def say(self, line: str) -> None:
        print(f"{self._name}: {line}", file=sys.stderr, flush=True)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Two test workers do not install at once."""
        with open(Path(sys.prefix) / f".{self._name}-fetch.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def wheel(self, wheel: str, folder: Path) -> None:
        """Unpack a wheel into a folder of this environment, beside its packages, not among them.

        :raises subprocess.CalledProcessError: pip cannot get it
        """
        self.say(f"fetching the wheel {wheel}")
        target = folder.with_suffix(".part")
        shutil.rmtree(target, ignore_errors=True)
        pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", "install"]
        options = ["--no-deps", "--only-binary", ":all:", "--target", str(target)]
        run([*pip, *options, wheel])
        shutil.rmtree(folder, ignore_errors=True)
        target.rename(folder)

    def apt(self, *packages: str) -> None:
        """Install Debian packages.

        :raises CannotFetch: this is not Debian, or we are not root
        :raises subprocess.CalledProcessError: apt-get failed
        """
        if not shutil.which("apt-get"):
            raise CannotFetch("there is no apt-get here")
        if os.geteuid() != 0:
            raise CannotFetch("apt-get install needs root")
        self.say(f"apt-get install {' '.join(packages)}")
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for arguments in (["update"], ["install", "--no-install-recommends", "-y", *packages]):
            run(["apt-get", "-qq", *arguments], environment=quiet)


def run(
    command: Sequence[str], *, environment: dict[str, str] | None = None, cwd: Path | None = None
) -> None:
    """:raises subprocess.CalledProcessError: it failed; `reason` says why"""
    subprocess.run(command, env=environment, cwd=cwd, check=True, capture_output=True, text=True)


def reason(error: Exception) -> str:
    """One line for people: the last one that the command printed, if it was a command."""
    if isinstance(error, subprocess.CalledProcessError):
        last_line = (error.stderr or "").strip().rpartition("\n")[2]
        return f"`{' '.join(map(str, error.cmd))}` failed ({last_line})"
    return str(error)

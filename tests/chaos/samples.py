"""What processes and databases use, sampled; and whether it stays level. Needs /proc."""

import sqlite3
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import NamedTuple

import asyncpg

Sample = Mapping[str, float]
"""Values by name. The last word of a name is its unit."""

MEBI = float(1 << 20)
SAMPLES_MIN = 8
WARM_UP = 3
"""The first of so many parts of the samples is not judged."""

ALLOWED: Mapping[str, tuple[float, float]] = {
    "MiB": (8.0, 0.1),
    "files": (4.0, 0.1),
    "threads": (2.0, 0.1),
    "connections": (4.0, 0.1),
    "table-MiB": (4.0, 0.2),
    "index-MiB": (4.0, 0.2),
    "rows": (50.0, 0.1),
}
"""By unit, how much a value may grow: by so much, or by this part of its median if that is more."""

_TABLES = """
SELECT c.relname, pg_table_size(c.oid), pg_indexes_size(c.oid)
FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace ORDER BY 1
"""
_CONNECTIONS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend'
"""


class Verdict(NamedTuple):
    """How a value behaved after the warm-up.

    :param growth: over all judged samples, by the median of the slopes between each two of them
    """

    name: str
    first: float
    last: float
    growth: float
    allowed: float

    @property
    def is_level(self) -> bool:
        return self.growth <= self.allowed


def judge(samples: Sequence[Sample]) -> list[Verdict]:
    """Judge each value that all samples have.

    :raises ValueError: there are too few samples
    """
    if len(samples) < SAMPLES_MIN:
        raise ValueError(f"{len(samples)} samples, at least {SAMPLES_MIN} are needed")
    judged = samples[len(samples) // WARM_UP :]
    names = [name for name in samples[-1] if all(name in sample for sample in judged)]
    return [_verdict(name, [sample[name] for sample in judged]) for name in names]


def _verdict(name: str, values: Sequence[float]) -> Verdict:
    pairs = combinations(enumerate(values), 2)
    slope = median((later - earlier) / (j - i) for (i, earlier), (j, later) in pairs)
    least, part = ALLOWED[name.rpartition(" ")[2]]
    allowed = max(least, part * median(values))
    return Verdict(name, values[0], values[-1], slope * (len(values) - 1), allowed)


def of_process(name: str, pid: int) -> dict[str, float]:
    """What a process uses."""
    folder = Path(f"/proc/{pid}")
    status = dict(
        line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line
    )
    return {
        f"{name} MiB": int(status["VmRSS"].split()[0]) / 1024,
        f"{name} files": float(len(list((folder / "fd").iterdir()))),
        f"{name} threads": float(status["Threads"]),
    }


async def of_postgres(dsn: str) -> dict[str, float]:
    """What the tables of a PostgreSQL database use, and the number of its connections."""
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        found = {"database connections": float(await connection.fetchval(_CONNECTIONS))}
        for table, size, indexes in await connection.fetch(_TABLES):
            found[f"{table} rows"] = float(
                await connection.fetchval(f"SELECT count(*) FROM {table}")
            )
            found[f"{table} table-MiB"] = size / MEBI
            found[f"{table} index-MiB"] = indexes / MEBI
    finally:
        await connection.close(timeout=10)
    return found


def of_sqlite(path: Path) -> dict[str, float]:
    """What the tables of an SQLite database use."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        found = {}
        for (table,) in tables.fetchall():
            [(count,)] = connection.execute(f'SELECT count(*) FROM "{table}"').fetchall()
            found[f"{table} rows"] = float(count)
    finally:
        connection.close()
    files = (path, path.with_name(f"{path.name}-wal"))
    found["database table-MiB"] = sum(f.stat().st_size for f in files if f.exists()) / MEBI
    return found

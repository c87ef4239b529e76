"""Defines what is measured."""

from collections.abc import Callable

from msgspec import Struct


class Options(Struct, frozen=True, kw_only=True):
    """The options of a benchmark. Figures can be compared if those of both runs are equal.

    :param db: the URL of a database; the benchmark uses another one next to it
    :param tasks: number of no-op tasks in the measurements of throughput
    :param samples: number of samples of each delay
    :param stored: the largest number of stored tasks
    :param concurrency: of the executors; None for the default of the command
    :param say: shows the user what is measured now
    """

    db: str
    tasks: int
    samples: int
    stored: int
    concurrency: int | None
    say: Callable[[str], None]

    @property
    def is_sqlite(self) -> bool:
        return self.db.startswith("sqlite:")

    @property
    def comparable(self) -> dict[str, int | str | None]:
        """What has to be equal in two runs whose figures are compared."""
        return {
            "database": "SQLite" if self.is_sqlite else "PostgreSQL",
            "tasks": self.tasks,
            "samples": self.samples,
            "stored": self.stored,
            "concurrency": self.concurrency,
        }

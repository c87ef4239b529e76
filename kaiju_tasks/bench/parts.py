"""Lists the parts of the benchmark."""

from collections.abc import AsyncIterator, Callable, Sequence

from msgspec import Struct

from kaiju_tasks.bench import create, curves, delays, resources, throughput
from kaiju_tasks.bench.numbers import compact
from kaiju_tasks.bench.options import Options
from kaiju_tasks.bench.rows import Figure
from kaiju_tasks.errors import SettingsError

PERCENTILE = "percentile"


class Part(Struct, frozen=True):
    """A part of the benchmark.

    :param measure: measures one round
    :param about: what it measures, for people
    :param axis: what the positions of its figures are; empty if they have none
    :param usual: measured if no part is named
    :param shared: needs a database that several managers can use
    """

    measure: Callable[[Options], AsyncIterator[Figure]]
    about: str
    axis: str = ""
    usual: bool = False
    shared: bool = False


PARTS: dict[str, Part] = {
    "create": Part(create.create, "single creates, one by one and of 50 clients", usual=True),
    "delays": Part(delays.delays, "the delays of single tasks", PERCENTILE, usual=True),
    "crowds": Part(
        delays.crowds,
        "500 tasks due at one moment, and an urgent task among many",
        PERCENTILE,
        usual=True,
    ),
    "throughput": Part(
        throughput.throughput, "many tasks, beside the limit of the database", usual=True
    ),
    "space": Part(resources.space, "memory, and what a task adds to the database"),
    "clients": Part(create.clients, "creates, by the number of clients", "clients"),
    "payload": Part(
        curves.payload,
        "stages, by the size of parameters and result",
        "bytes of parameters and result",
    ),
    "stages": Part(curves.stages, "stages, by their number in a task", "stages of a task"),
    "concurrency": Part(
        curves.concurrency, "tasks, by the number that an executor holds", "--concurrency"
    ),
    "executors": Part(curves.executors, "tasks, by the number of executors", "executors"),
    "managers": Part(
        curves.managers,
        "tasks, by the number of managers with an executor each",
        "managers, each with an executor",
        shared=True,
    ),
    "backlog": Part(
        curves.backlog, "throughput, by the number of queued tasks", "tasks queued behind"
    ),
    "history": Part(
        curves.history, "throughput, by the number of ended tasks", "ended tasks stored"
    ),
    "future": Part(
        curves.future,
        "throughput, by the number of tasks due later",
        "tasks stored that are due later",
    ),
}


def position(part: str, at: int) -> str:
    """Return a position on the axis of a part for people: p99, 10k."""
    return f"p{at}" if PARTS[part].axis == PERCENTILE else compact(at)


def chosen_parts(names: Sequence[str], options: Options, *, everything: bool) -> list[str]:
    """Return the names of the parts to measure, in their order.

    :param names: that the user has given; `all` stands for those that the database allows
    :param everything: whether no name means all parts
    :raises SettingsError: a part needs another database
    """
    possible = [name for name, part in PARTS.items() if not part.shared or not options.is_sqlite]
    if "all" in names or (everything and not names):
        return possible
    if not names:
        return [name for name in possible if PARTS[name].usual]
    impossible = [name for name in names if name not in possible]
    if impossible:
        raise SettingsError(
            f"the part {impossible[0]} needs PostgreSQL: a SQLite database has one manager",
            field="part",
        )
    return [name for name in possible if name in names]

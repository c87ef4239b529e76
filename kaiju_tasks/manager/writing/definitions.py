"""Caches recently used task definitions, so that a report needs no query for one."""

from collections import OrderedDict
from collections.abc import Iterable

from kaiju_tasks.errors import reason_of
from kaiju_tasks.lifecycle import Definition, Row, broken_definition
from kaiju_tasks.store.base import Transaction

MAX_DEFINITIONS = 20_000
MAX_BYTES = 64 * 1024 * 1024


def definition_bytes(definition: Definition) -> int:
    """The size in bytes of those parts of a definition that can be large."""
    size = len(definition.kws) + len(definition.meta) + len(definition.description or "")
    for command in definition.commands:
        size += len(command.params) + len(command.condition)
    return size


class DefinitionCache:
    """A cache of definitions by task id and `rev`.

    It evicts the definitions of ended tasks first, then the least recently used ones. Otherwise a
    backlog larger than the cache, which is taken in the order of its creation, would evict each
    definition shortly before its use.

    An eviction takes the same time for any number of entries. The first key of a plain dict does
    not: after many deletions at its front, each search passes over all of them.

    :param limit: maximum number of definitions
    :param limit_bytes: maximum total size in bytes
    """

    def __init__(self, limit: int = MAX_DEFINITIONS, limit_bytes: int = MAX_BYTES) -> None:
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self._kept: OrderedDict[str, tuple[int, Definition, int]] = OrderedDict()

    def keep(self, rev: int, definition: Definition) -> None:
        self.forget(definition.id)
        size = definition_bytes(definition)
        kept = self._kept
        kept[definition.id] = (rev, definition, size)
        self._bytes += size
        while kept and (len(kept) > self._limit or self._bytes > self._limit_bytes):
            _, (_, _, evicted) = kept.popitem(last=False)
            self._bytes -= evicted

    def known(self, task_id: str) -> Definition | None:
        """The cached definition of a task, which may be outdated; None if there is none."""
        entry = self._kept.get(task_id)
        return None if entry is None else entry[1]

    def current(self, row: Row) -> Definition | None:
        """The cached definition of a row, if it is the one that the row has."""
        entry = self._kept.get(row.id)
        return entry[1] if entry is not None and entry[0] == row.rev else None

    def are_current(self, rows: Iterable[Row]) -> bool:
        """Whether the definitions of all rows are at hand, and those that the rows have."""
        for row in rows:
            entry = self._kept.get(row.id)
            if entry is None or entry[0] != row.rev:
                return False
        return True

    def forget(self, task_id: str) -> None:
        entry = self._kept.pop(task_id, None)
        if entry is not None:
            self._bytes -= entry[2]

    def ended(self, task_id: str) -> None:
        """Evict the definition of a task next: it has ended and is not scheduled."""
        if task_id in self._kept:
            self._kept.move_to_end(task_id, last=False)

    async def load(self, tx: Transaction, rows: Iterable[Row]) -> dict[str, Definition]:
        """Load the definitions of locked rows, by task id. One that cannot be used is a
        `BrokenDefinition`."""
        found: dict[str, Definition] = {}
        missing: list[str] = []
        for row in rows:
            entry = self._kept.get(row.id)
            if entry is not None and entry[0] == row.rev:
                found[row.id] = entry[1]
                self._kept.move_to_end(row.id)
            else:
                missing.append(row.id)
        if missing:
            loaded = await tx.definitions(missing)
            for task_id in missing:
                stored = loaded.get(task_id)
                if stored is None:
                    found[task_id] = _lost(task_id)
                else:
                    found[task_id] = definition = _usable(stored.definition)
                    self.keep(stored.rev, definition)
        return found


def _lost(task_id: str) -> Definition:
    return broken_definition(Definition(id=task_id, app_name="", commands=[]), "it is missing")


def _usable(definition: Definition) -> Definition:
    """A definition whose hooks can be read, or what is left of it."""
    try:
        definition.hooks  # noqa: B018 - compiles their templates
    except Exception as exc:
        return broken_definition(definition, reason_of(exc))
    return definition

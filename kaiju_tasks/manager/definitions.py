"""Definitions the manager has lately used, so that a report costs no look-up."""

from collections.abc import Iterable

from kaiju_tasks.lifecycle import Definition, Row
from kaiju_tasks.store.base import Transaction

MAX_DEFINITIONS = 20_000


class DefinitionCache:
    """Definitions by task id and `rev`; the oldest entries go first."""

    def __init__(self, limit: int = MAX_DEFINITIONS) -> None:
        self._limit = limit
        self._kept: dict[str, tuple[int, Definition]] = {}

    def keep(self, rev: int, definition: Definition) -> None:
        kept = self._kept
        kept[definition.id] = (rev, definition)
        if len(kept) > self._limit:
            del kept[next(iter(kept))]

    def forget(self, task_id: str) -> None:
        self._kept.pop(task_id, None)

    async def load(self, tx: Transaction, rows: Iterable[Row]) -> dict[str, Definition]:
        """Definitions of locked rows."""
        found: dict[str, Definition] = {}
        missing: list[str] = []
        for row in rows:
            entry = self._kept.get(row.id)
            if entry is not None and entry[0] == row.rev:
                found[row.id] = entry[1]
            else:
                missing.append(row.id)
        if missing:
            for task_id, stored in (await tx.definitions(missing)).items():
                found[task_id] = stored.definition
                self.keep(stored.rev, stored.definition)
        return found

"""Leases the tasks that a transaction makes ready in the same transaction, if an executor is free.

What is decided here is only when; `kaiju_tasks.manager.executors.placement` decides where.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

from kaiju_tasks.manager.writing.changes import Change
from kaiju_tasks.store.base import Transaction


class Placement(Protocol):
    """The leases of one transaction, over all its attempts."""

    async def begin(self, tx: Transaction) -> None:
        """Begin an attempt. It looks for the leases of attempts in doubt."""
        ...

    async def place(self, changes: Iterable[Change]) -> None:
        """Lease ready tasks of changes that are not saved yet. Their steps are continued."""
        ...

    async def assign(self, changes: Iterable[Change]) -> None:
        """Build what the executors are sent, after all changes were saved."""
        ...

    def in_doubt(self) -> None:
        """The commit of this attempt is in doubt."""
        ...

    def send(self) -> None:
        """The transaction is committed: send the tasks to their executors."""
        ...

    def end(self) -> None:
        """Free the places that are not used. Leases that may be committed but were not sent are
        given up."""
        ...


class NoPlacement:
    """Leaves every task to its stream."""

    async def begin(self, tx: Transaction) -> None: ...

    async def place(self, changes: Iterable[Change]) -> None: ...

    async def assign(self, changes: Iterable[Change]) -> None: ...

    def in_doubt(self) -> None: ...

    def send(self) -> None: ...

    def end(self) -> None: ...


class Placings:
    """The placements of the open transactions."""

    def __init__(self) -> None:
        self._open: dict[Transaction, Placement] = {}

    def open(self, tx: Transaction, placement: Placement) -> None:
        self._open[tx] = placement

    def close(self, tx: Transaction) -> None:
        self._open.pop(tx, None)

    async def place(self, tx: Transaction, changes: Sequence[Change]) -> None:
        """Lease the tasks that these changes make ready, if executors are free. Call it before the
        changes are saved."""
        if (placement := self._open.get(tx)) is not None:
            await placement.place(changes)

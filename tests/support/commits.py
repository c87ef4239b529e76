"""What happens between a commit and the moment at which the manager learns of it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from kaiju_tasks.manager import Manager
from kaiju_tasks.store import Transaction
from kaiju_tasks.store.presumed import Presumed


def after_commits(
    manager: Manager, monkeypatch: pytest.MonkeyPatch, then: Callable[[], Awaitable[None]]
) -> None:
    """Do something after each commit, before the manager learns of it."""
    transaction, write_presumed = manager.store.transaction, manager.store.write_presumed

    @asynccontextmanager
    async def ordinary() -> AsyncIterator[Transaction]:
        async with transaction() as tx:
            yield tx
        await then()

    async def presumed(writes: Presumed) -> bool:
        written = await write_presumed(writes)
        await then()
        return written

    monkeypatch.setattr(manager.store, "transaction", ordinary)
    monkeypatch.setattr(manager.store, "write_presumed", presumed)

"""Commits of which nobody knows whether they happened."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from kaiju_tasks.manager import Manager
from kaiju_tasks.store import StoreUnavailable, Transaction
from kaiju_tasks.store.presumed import Presumed


def in_doubt(
    manager: Manager,
    monkeypatch: pytest.MonkeyPatch,
    *,
    committed: bool,
    then: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """The next transaction of a manager breaks at its commit, before it or after it.

    :param then: happens after the commit or the rollback, before the manager sees that it broke
    """
    whole = manager.store.transaction
    left = [1]

    @asynccontextmanager
    async def transaction() -> AsyncIterator[Transaction]:
        broken = bool(left and left.pop())
        try:
            async with whole() as tx:
                yield tx
                if broken and not committed:
                    raise StoreUnavailable("it broke before the commit", unknown=True)
        finally:
            if broken and then is not None:
                await then()
        if broken:
            raise StoreUnavailable("it broke after the commit", unknown=True)

    at_once = manager.store.write_presumed

    async def write_presumed(presumed: Presumed) -> bool:
        broken = bool(left and left.pop())
        if broken and not committed:
            raise StoreUnavailable("it broke before it arrived", unknown=True)
        written = await at_once(presumed)
        if broken and then is not None:
            await then()
        if broken:
            raise StoreUnavailable("it broke after the commit", unknown=True)
        return written

    monkeypatch.setattr(manager.store, "transaction", transaction)
    monkeypatch.setattr(manager.store, "write_presumed", write_presumed)

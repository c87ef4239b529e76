"""What an executor is given when nobody knows whether its acquisition was committed."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.writing.committer import Committer
from kaiju_tasks.settings import Settings
from kaiju_tasks.store.open import make_store
from kaiju_tasks.store.postgres.store import PostgresStore
from kaiju_tasks.store.postgres.transaction import PostgresTransaction
from kaiju_tasks.store.presumed import Presumed
from tests.manager.hand import HandExecutor
from tests.support.postgres import PostgresServer
from tests.support.proxy import Proxy, proxy
from tests.support.stalled import Standby, standby
from tests.support.wait import wait_until

TASKS = 60


@asynccontextmanager
async def a_manager_behind_a_proxy(dsn: str) -> AsyncIterator[tuple[Manager, Proxy]]:
    parts = urlsplit(dsn)
    async with proxy(parts.port or 0) as way:
        address = parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{way.port}"))
        store = make_store(address.geturl())
        await store.open()
        settings = Settings(db=address.geturl(), ping_interval=30, poll_interval=0.2)
        try:
            async with Manager(store, settings).running() as manager:
                yield manager, way
        finally:
            await store.close()


def stall_the_first_presumed_acquisition(monkeypatch: pytest.MonkeyPatch, behind: Standby) -> None:
    """Let the commit of the first statement that leases tasks stand still."""
    write_presumed = PostgresStore.write_presumed
    acquiring: list[Presumed] = []

    async def stalled(self: PostgresStore, presumed: Presumed) -> bool:
        if presumed.sessions and not acquiring:
            acquiring.append(presumed)
            await behind.stall()
        return await write_presumed(self, presumed)

    monkeypatch.setattr(PostgresStore, "write_presumed", stalled)


def stall_the_first_acquisition(monkeypatch: pytest.MonkeyPatch, behind: Standby) -> None:
    """Let the commit of the first transaction that finds ready tasks stand still."""

    async def unread(self: Committer, app_name: str, limit: int) -> None:
        return None

    monkeypatch.setattr(Committer, "ready_tasks", unread)
    lock_ready, commit = PostgresTransaction.lock_ready, PostgresTransaction.commit
    acquiring: list[PostgresTransaction] = []

    async def noted(self: PostgresTransaction, *args: object, **more: object) -> object:
        rows = await lock_ready(self, *args, **more)  # type: ignore[arg-type]
        if rows:
            acquiring.append(self)
        return rows

    async def stalled(self: PostgresTransaction) -> None:
        if acquiring[:1] == [self]:
            await behind.stall()
        await commit(self)

    monkeypatch.setattr(PostgresTransaction, "lock_ready", noted)
    monkeypatch.setattr(PostgresTransaction, "commit", stalled)


@pytest.mark.parametrize(
    "stall", [stall_the_first_acquisition, stall_the_first_presumed_acquisition]
)
async def test_leases_that_become_visible_after_their_connection_broke_are_sent(
    own_postgres_server: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
    stall: Callable[[pytest.MonkeyPatch, Standby], None],
) -> None:
    dsn = own_postgres_server.create_database("doubt")
    async with (
        standby(own_postgres_server.dsn()) as behind,
        a_manager_behind_a_proxy(dsn) as (manager, way),
    ):
        hand = HandExecutor(manager, "hand", capacity=TASKS)
        for index in range(TASKS):
            await hand.call.create("work", id=f"t{index}")
        stall(monkeypatch, behind)
        await hand.connect()

        async def two_stall() -> bool:  # the probe, and the acquisition
            return await behind.stalled() >= 2

        async def one_waits() -> bool:
            return await behind.waiting() >= 1

        await wait_until(two_stall, "the acquisition is being committed")
        way.cut()
        try:
            await wait_until(one_waits, "the manager waits for the transaction in doubt")
        finally:
            await behind.answer()
        taken = [await hand.take() for _ in range(TASKS)]
        assert {task.id for task in taken} == {f"t{index}" for index in range(TASKS)}
        assert {task.epoch for task in taken} == {1}

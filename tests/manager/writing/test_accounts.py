"""When a principal is counted, and who waits for that."""

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from kaiju_tasks.errors import QuotaExceeded
from kaiju_tasks.manager.writing import accounts as module
from kaiju_tasks.manager.writing.accounts import Accounts, Reservation
from kaiju_tasks.rights import Kind, Scope
from kaiju_tasks.settings import Settings
from kaiju_tasks.store.base import Store, StoreUnavailable, Transaction
from kaiju_tasks.store.credentials import StoredPrincipal
from tests.support.standing import Standing, stand_still
from tests.support.wait import wait_until

MOST = 5


class CountedStore:
    """Has principals, and counts their tasks slowly.

    :ivar open: the open tasks of ann
    :ivar counts: how many counts have begun
    :ivar takes: seconds that a count takes
    :ivar goes_on: a count does not end while this is not set
    """

    def __init__(self, clock: Standing) -> None:
        self._clock = clock
        self.open, self.counts, self.takes = MOST, 0, 3.0
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        self.error: Exception | None = None

    async def principals(self) -> list[StoredPrincipal]:
        return [
            StoredPrincipal(id=name, kind=Kind.USER, scope=Scope(), created=0.0)
            for name in ("ann", "bob")
        ]

    async def open_tasks(self) -> dict[str, int]:
        self.counts += 1
        found = self.open
        await self.goes_on.wait()
        self._clock.now += self.takes
        if self.error is not None:
            raise self.error
        return {"ann": found}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Standing:
    return stand_still(monkeypatch)


@pytest.fixture
async def store(clock: Standing) -> CountedStore:
    return CountedStore(clock)


@pytest.fixture
async def accounts(store: CountedStore) -> Accounts:
    """Have counted once, and do not count by themselves for a minute: the count was slow."""
    made = Accounts(cast(Store, store), Settings(max_open_tasks=MOST))
    await made.start()
    await wait_until(counted(made), "the tasks have been counted")
    return made


def counted(accounts: Accounts) -> Callable[[], bool]:
    return lambda: accounts._counting is not None and accounts._counting.done()


async def test_nobody_is_refused_because_of_an_old_count(
    clock: Standing, store: CountedStore, accounts: Accounts
) -> None:
    store.open = 0  # they have ended on other managers
    clock.now += 5
    await accounts.admit("ann")
    assert store.counts == 2


async def test_a_recent_count_is_not_repeated(
    clock: Standing, store: CountedStore, accounts: Accounts
) -> None:
    for _ in range(3):
        with pytest.raises(QuotaExceeded) as caught:
            await accounts.admit("ann")
        assert caught.value.retry_after == 2.0  # then, the count is 5 seconds old
    assert store.counts == 1


async def test_all_wait_for_one_count_and_others_do_not_wait(
    clock: Standing, store: CountedStore, accounts: Accounts
) -> None:
    clock.now += 5
    store.goes_on.clear()
    waiting = [asyncio.create_task(accounts.admit("ann")) for _ in range(10)]
    await wait_until(lambda: store.counts == 2, "the tasks are counted again")
    await accounts.admit("bob")
    assert not any(one.done() for one in waiting)
    store.goes_on.set()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(one, QuotaExceeded) for one in outcomes)
    assert store.counts == 2


async def test_a_count_that_began_long_before_a_call_does_not_refuse_it(
    clock: Standing, store: CountedStore, accounts: Accounts
) -> None:
    clock.now += 5
    store.goes_on.clear()
    first = asyncio.create_task(accounts.admit("ann"))
    await wait_until(lambda: store.counts == 2, "the tasks are counted again")
    store.open = 0
    clock.now += 10
    second = asyncio.create_task(accounts.admit("ann"))
    store.goes_on.set()
    with pytest.raises(QuotaExceeded):
        await first
    await second
    assert store.counts == 3


async def test_a_wait_for_a_count_is_bounded(
    clock: Standing,
    store: CountedStore,
    accounts: Accounts,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(module, "COUNT_SECONDS_MAX", 0.01)
    clock.now += 5
    store.goes_on.clear()
    await accounts.admit("ann")
    assert "cannot be counted: TimeoutError" in caplog.text
    await accounts.admit("ann")
    assert store.counts == 2


async def test_a_count_that_fails_refuses_nobody(
    clock: Standing, store: CountedStore, accounts: Accounts
) -> None:
    clock.now += 5
    store.error = StoreUnavailable("the connection is broken")
    for _ in range(3):
        await accounts.admit("ann")
    assert store.counts == 2
    clock.now += 60
    store.error = None
    await accounts.admit("ann")
    await wait_until(counted(accounts), "the tasks have been counted")
    with pytest.raises(QuotaExceeded):
        await accounts.admit("ann")


async def test_a_write_is_tried_again_if_an_old_count_refuses_it(
    clock: Standing, store: CountedStore, accounts: Accounts
) -> None:
    store.open = 0
    clock.now += 6
    tx, attempts = cast(Transaction, object()), 0

    async def write() -> None:
        nonlocal attempts
        attempts += 1
        accounts.open(tx, Reservation())
        try:
            accounts.take(tx, "ann", MOST)
        finally:
            accounts.close(tx)

    await accounts.attempt(write)
    assert (attempts, store.counts) == (2, 2)
    with pytest.raises(QuotaExceeded):  # what is reserved counts
        await accounts.attempt(write)
    assert (attempts, store.counts) == (3, 2)

"""What another manager commits between two attempts of a transaction is not the result of it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from kaiju_tasks.lifecycle import Row
from kaiju_tasks.manager import Dice
from kaiju_tasks.manager.writing.changes import Change
from kaiju_tasks.manager.writing.committer import Committer
from kaiju_tasks.settings import Settings
from kaiju_tasks.store import Store, StoreError, StoreUnavailable, Transaction
from kaiju_tasks.store.base import TransactionConflict
from kaiju_tasks.store.open import make_store
from kaiju_tasks.store.presumed import Presumed
from tests.store.making import acquire, add, connect, definition, finished

NOW = 1.8e9
CONFLICT = TransactionConflict("a deadlock")
BROKEN = StoreUnavailable("the connection broke before COMMIT was sent")
IN_DOUBT = StoreUnavailable("the connection broke at COMMIT", unknown=True)


class Writer:
    """The committer of a manager.

    :ivar ended: the ids of the tasks whose end it has published
    """

    def __init__(self, store: Store) -> None:
        self.ended: list[str] = []
        self.committer = Committer(store, Dice(), Settings(), publish=self._publish)

    def _publish(self, changes: list[Change]) -> None:
        self.ended += [change.step.row.id for change in changes if change.step.runs]


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    """A store whose clock stands still: the same event gives the same row everywhere."""
    store = make_store("sqlite://:memory:", clock=lambda: NOW)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def writers(store: Store) -> AsyncIterator[tuple[Writer, Writer]]:
    one, other = Writer(store), Writer(store)
    one.committer.start()
    other.committer.start()
    yield one, other
    await one.committer.stop()
    await other.committer.stop()


@pytest.fixture
async def leased(store: Store) -> Row:
    await connect(store)
    await add(store, definition("t"))
    (row,) = await acquire(store)
    return row


def fail_once(
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    error: StoreError,
    then: Callable[[], Awaitable[object]],
) -> None:
    """Let the next transaction be rolled back after its last statement.

    :param then: happens after the rollback
    """
    whole = store.transaction

    @asynccontextmanager
    async def transaction() -> AsyncIterator[Transaction]:
        monkeypatch.setattr(store, "transaction", whole)
        try:
            async with whole() as tx:
                yield tx
                raise error
        except StoreError:
            await then()
            raise

    monkeypatch.setattr(store, "transaction", transaction)


def fail_presumed_once(
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    error: StoreError | None,
    then: Callable[[], Awaitable[object]],
) -> None:
    """Let the next presumed transaction write nothing.

    :param error: None: its presumptions are wrong
    :param then: happens meanwhile
    """

    async def write_presumed(presumed: Presumed) -> bool:
        monkeypatch.undo()
        await then()
        if error is not None:
            raise error
        return False

    monkeypatch.setattr(store, "write_presumed", write_presumed)


@pytest.mark.parametrize("error", [CONFLICT, BROKEN], ids=["conflict", "broken"])
async def test_an_end_is_published_by_the_manager_that_committed_it(
    store: Store,
    writers: tuple[Writer, Writer],
    leased: Row,
    monkeypatch: pytest.MonkeyPatch,
    error: StoreError,
) -> None:
    one, other = writers
    event = finished(leased)
    fail_once(store, monkeypatch, error, lambda: other.committer.apply("t", event))
    assert not (await one.committer.apply("t", event)).changed
    assert (one.ended, other.ended) == ([], ["t"])


@pytest.mark.parametrize("error", [None, CONFLICT, BROKEN], ids=["wrong", "conflict", "broken"])
async def test_a_presumed_end_is_published_by_the_manager_that_committed_it(
    store: Store,
    writers: tuple[Writer, Writer],
    leased: Row,
    monkeypatch: pytest.MonkeyPatch,
    error: StoreError | None,
) -> None:
    one, other = writers
    one.committer.states.rows.committed(leased)
    one.committer.states.definitions.keep(1, definition("t"))
    event = finished(leased)
    fail_presumed_once(store, monkeypatch, error, lambda: other.committer.apply("t", event))
    assert not (await one.committer.apply("t", event)).changed
    assert (one.ended, other.ended) == ([], ["t"])


async def test_an_end_whose_commit_was_in_doubt_is_published(
    store: Store,
    writers: tuple[Writer, Writer],
    leased: Row,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, _ = writers
    event = finished(leased)
    whole = store.transaction

    @asynccontextmanager
    async def transaction() -> AsyncIterator[Transaction]:
        monkeypatch.undo()
        async with whole() as tx:
            yield tx
        raise IN_DOUBT

    monkeypatch.setattr(store, "transaction", transaction)
    assert (await one.committer.apply("t", event)).changed
    assert one.ended == ["t"]

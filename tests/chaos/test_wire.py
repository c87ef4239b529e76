"""What the wire between managers and their database takes for a commit."""

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from kaiju_tasks.manager import Manager
from kaiju_tasks.settings import Settings
from kaiju_tasks.store.postgres import PostgresStore
from tests.chaos.wire import Wire
from tests.manager.hand import Calls, HandExecutor


@pytest.fixture
async def wire(postgres_dsn: str) -> AsyncIterator[Wire]:
    made = Wire(urlsplit(postgres_dsn).port or 0)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def manager(postgres_dsn: str, wire: Wire) -> AsyncIterator[Manager]:
    parts = urlsplit(postgres_dsn)
    address = parts._replace(
        netloc=parts.netloc.replace(f":{parts.port}", f":{wire.port}")
    ).geturl()
    store = PostgresStore(address)
    await store.open()
    async with Manager(store, Settings(db=address)).running() as manager:
        yield manager
    await store.close()


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_statement_that_creates_a_task_is_cut_as_a_commit_is(
    manager: Manager, wire: Wire, when: str
) -> None:
    call = Calls(manager)
    await call.create("work", id="first")
    wire.cut_next_commit("before" if when == "before" else "after")
    await call.create("work", id="second")
    assert wire.commits_cut == 1
    assert (await call.get("second"))["status"] == "QUEUED"


async def test_a_statement_that_writes_a_report_is_cut_as_a_commit_is(
    manager: Manager, wire: Wire
) -> None:
    hand = HandExecutor(manager, "hand")
    await hand.connect()
    await hand.call.create("work", id="first")
    await hand.finish(await hand.assigned.get(), 1)
    await hand.call.until("first", "FINISHED")
    await hand.call.create("work", id="second")
    task = await hand.assigned.get()
    wire.cut_next_commit("after")
    await hand.finish(task, 2)
    assert (await hand.call.until("second", "FINISHED"))["result"] == [2]
    assert wire.commits_cut == 1

"""The synchronous client: in threads, beside a running loop, and after a fork."""

import asyncio
import gc
import multiprocessing
import os
import signal
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from kaiju_tasks import SyncClient
from kaiju_tasks.errors import InvalidParams, NotFound, Unavailable
from tests.support.processes import Processes
from tests.support.served import served
from tests.support.wait import wait_until

ECHO = {"commands": [{"method": "do.echo", "params": {"data": 1}}]}


@pytest.fixture
def url() -> Iterator[str]:
    """A manager with the sample executor, in a thread: this loop may be blocked."""
    with served() as url:
        yield url


@pytest.fixture
async def url_elsewhere(processes: Processes) -> str:
    """A manager with the sample executor, as a process: this one has no other threads to fork."""
    manager = processes.kaiju("serve", "--port", "0", "--executor", "kaiju_tasks.samples:executor")
    ready = await manager.logged(r"^kaiju-tasks \S+ at (\S+) ")
    await manager.logged("connected to manager")
    return ready[1]


def loop_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "kaiju_tasks.SyncClient"]


async def test_it_has_the_methods_of_the_client_and_works_beside_a_running_loop(url: str) -> None:
    assert asyncio.get_running_loop().is_running()  # as in Jupyter
    with SyncClient(url) as client:
        created = client.tasks.create(ECHO)
        ended = client.tasks.wait(created["id"], timeout=30)
        assert (ended["status"], ended["result"]) == ("FINISHED", [1])
        assert client.tasks.get(id=created["id"])["id"] == created["id"]
        assert client.call("tasks.count") == {"count": 1}
        missing, counted = client.batch([("tasks.get", {"id": "no"}), ("tasks.count", {})])
        assert isinstance(missing, NotFound)
        assert counted == {"count": 1}
        assert client.system.info()["version"]


async def test_errors_are_raised_as_by_the_client(url: str) -> None:
    with SyncClient(url) as client:
        with pytest.raises(NotFound):
            client.tasks.get("nope")
        with pytest.raises(InvalidParams) as wrong:
            client.tasks.create({"commands": []})
        assert wrong.value.field == "data.commands"
        with pytest.raises(TypeError, match="by name"):
            client.tasks.get("a", "b")  # type: ignore[call-arg]


def test_a_wrong_url_or_bound_is_refused_where_the_client_is_made() -> None:
    with pytest.raises(InvalidParams, match="http://host:port"):
        SyncClient("nope")
    with pytest.raises(InvalidParams, match="retry_seconds"):
        SyncClient("http://127.0.0.1:9", retry_seconds=-1)


async def test_events_are_read_with_for(url: str) -> None:
    names = []
    with SyncClient(url) as client, client.events({"id": "a"}) as events:
        client.tasks.create({**ECHO, "id": "a"})
        for event in events:
            names.append(event["event"])
            if event["event"] == "task.finished":
                break
    assert names == ["task.queued", "task.started", "task.stage", "task.finished"]


async def test_threads_share_one_client(url: str) -> None:
    with SyncClient(url) as client, ThreadPoolExecutor(16) as threads:

        def one(number: int) -> Any:
            client.tasks.create({**ECHO, "id": f"{number}"})
            return client.tasks.wait(f"{number}", timeout=30)["status"]

        assert list(threads.map(one, range(64))) == ["FINISHED"] * 64
        assert len(loop_threads()) == 1


async def test_a_closed_client_leaves_no_thread_and_may_be_used_again(url: str) -> None:
    client = SyncClient(url)
    assert not loop_threads()
    client.close()
    for _ in range(2):
        assert client.tasks.count() == {"count": 0}
        assert len(loop_threads()) == 1
        client.close()
        client.close()
        assert not loop_threads()


async def test_a_client_that_nobody_holds_ends_its_thread(url: str) -> None:
    client = SyncClient(url)
    client.tasks.count()
    gone = weakref.ref(client)
    del client
    gc.collect()
    assert gone() is None
    await wait_until(lambda: not loop_threads(), "the thread has ended")


async def test_a_call_and_a_subscription_end_when_the_client_is_closed(url: str) -> None:
    client = SyncClient(url)
    client.tasks.create({"id": "a", "commands": [{"method": "_MESSAGE_"}]})
    events = client.events({"id": "none"})
    calls = [lambda: client.tasks.wait("a"), lambda: next(events)]
    waiting = [asyncio.create_task(asyncio.to_thread(call)) for call in calls]
    assert (await asyncio.to_thread(client.tasks.wait, "a", 0.2))["status"] == "WAITING"
    client.close()
    for call in waiting:
        with pytest.raises(Unavailable, match="closed"):
            await call
    events.close()


async def test_ctrl_c_ends_a_wait_and_the_client_goes_on(url: str) -> None:
    client = SyncClient(url)
    client.tasks.create({"id": "a", "commands": [{"method": "_MESSAGE_"}]})

    def interrupted_wait() -> None:
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        client.tasks.wait("a")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            interrupted_wait()
    finally:
        signal.signal(signal.SIGINT, before)
    assert client.tasks.get("a")["status"] == "WAITING"
    client.close()


def _in_child(client: SyncClient, answers: Any) -> None:
    created = client.tasks.create({**ECHO, "id": f"child-{os.getpid()}"})
    answers.put(client.tasks.wait(created["id"], timeout=30)["status"])
    client.close()


async def test_forked_children_and_their_parent_go_on_side_by_side(
    url_elsewhere: str,
) -> None:
    fork = multiprocessing.get_context("fork")
    with SyncClient(url_elsewhere) as client:
        client.tasks.create({**ECHO, "id": "parent"})
        events = client.events({"id": "parent"})
        with events:
            answers = fork.SimpleQueue()
            children = [fork.Process(target=_in_child, args=(client, answers)) for _ in range(3)]
            for child in children:
                child.start()
            for child in children:
                await asyncio.to_thread(child.join, 60)
                assert child.exitcode == 0
            assert [answers.get() for _ in children] == ["FINISHED"] * 3
            client.tasks.reset("parent")
            assert next(events)["id"] == "parent"
        assert client.tasks.wait("parent", timeout=30)["status"] == "FINISHED"


async def test_events_keep_their_client(url: str) -> None:
    events = iter(SyncClient(url).events())
    with events:
        gc.collect()
        with SyncClient(url) as client:
            created = client.tasks.create(ECHO)
        assert next(events)["id"] == created["id"]

"""What a page asks of the manager, and when it asks again."""

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial

import pytest
import pytest_asyncio
from playwright.async_api import Page, Request, expect

from kaiju_tasks import Client

pytestmark = pytest.mark.asyncio(loop_scope="module")
ECHO = [{"method": "do.echo"}]
MANY = 300


@pytest_asyncio.fixture(loop_scope="module")
async def client(url: str) -> AsyncIterator[Client]:
    async with Client(url) as client:
        yield client


def calls(page: Page) -> list[str]:
    """The methods that the page calls from now on."""
    called: list[str] = []

    def note(request: Request) -> None:
        if request.url.endswith("/rpc") and request.post_data is not None:
            called.append(json.loads(request.post_data)["method"])

    page.on("request", note)
    return called


async def test_a_list_is_read_once_and_again_when_something_has_happened(
    url: str, client: Client, page: Page
) -> None:
    await client.tasks.create({"id": "once", "delay": 3600, "commands": ECHO})
    called = calls(page)
    await page.goto(f"{url}/tasks?id=once&status=SUSPENDED")
    await expect(page.get_by_role("main")).to_contain_text("No task matches")
    await expect(page.get_by_role("button", name="Live")).to_be_visible()
    await client.tasks.suspend("once")
    await expect(page.get_by_role("main")).to_contain_text("1 task matches")
    assert called.count("tasks.list") == 2
    assert "rpc.discover" not in called


async def test_a_task_is_read_when_it_changes_and_not_when_others_do(
    url: str, client: Client, page: Page
) -> None:
    await client.tasks.create({"id": "shown", "enabled": False, "commands": ECHO})
    await page.goto(f"{url}/task?id=shown")
    await expect(page.get_by_test_id("explain")).to_contain_text("`enabled` is false")
    await expect(page.get_by_role("button", name="Live")).to_be_visible()
    frames: list[str] = []
    page.on(
        "websocket",
        lambda socket: socket.on("framereceived", lambda frame: frames.append(str(frame))),
    )
    await page.reload()
    await expect(page.get_by_role("button", name="Live")).to_be_visible()
    for number in range(5):
        await client.tasks.create({"id": f"other {number}", "enabled": False, "commands": ECHO})
    await client.tasks.update("shown", data={"description": "It has changed"})
    await client.tasks.suspend("shown")
    await expect(page.get_by_role("heading", level=1)).to_have_text("It has changed")
    assert not [frame for frame in frames if "other " in frame]


async def test_a_page_that_gets_too_many_events_shows_all_of_them_in_the_end(
    url: str, client: Client, page: Page
) -> None:
    await page.goto(f"{url}/tasks?q=flood&status=FINISHED")
    await expect(page.get_by_role("button", name="Live")).to_be_visible()
    await client.tasks.m_create([{"description": "flood", "commands": ECHO} for _ in range(MANY)])
    await expect(page.get_by_role("main")).to_contain_text(f"{MANY} tasks match")


async def test_a_page_that_nobody_uses_asks_when_somebody_does(
    url: str, client: Client, page: Page
) -> None:
    await client.tasks.create({"id": "unused", "delay": 3600, "commands": ECHO})
    await page.clock.install()
    arrived = asyncio.Event()
    page.on("websocket", lambda socket: socket.on("framereceived", partial(note, arrived)))
    await page.goto(f"{url}/tasks?id=unused&status=SUSPENDED")
    await expect(page.get_by_role("main")).to_contain_text("No task matches")
    await expect(page.get_by_role("button", name="Live")).to_be_visible()
    await page.clock.fast_forward(61_000)
    called = calls(page)
    await client.tasks.suspend("unused")
    async with asyncio.timeout(60):
        await arrived.wait()
    await page.clock.fast_forward(5_000)
    await expect(page.get_by_role("main")).to_contain_text("No task matches")
    assert "tasks.list" not in called
    await page.mouse.move(100, 100)
    await expect(page.get_by_role("main")).to_contain_text("1 task matches")


def note(arrived: asyncio.Event, frame: object) -> None:
    if "task.suspended" in str(frame):
        arrived.set()

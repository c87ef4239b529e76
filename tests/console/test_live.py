"""What a page asks of the manager, and when it asks again."""

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Page, Request, WebSocket, expect

from kaiju_tasks import Client
from tests.support.wait import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")
ECHO = [{"method": "do.echo"}]
MANY = 300
PATIENCE_SECONDS = 120.0
ONLY_EVENTS = """
const [repeat, later] = [window.setInterval, window.setTimeout];
window.setInterval = (of, ms, ...rest) => (ms >= 10_000 ? 0 : repeat(of, ms, ...rest));
window.setTimeout = (of, ms, ...rest) => (ms === 500 ? 0 : later(of, ms, ...rest));
"""
"""The page does not ask regularly, nor before it has subscribed, however long that takes."""
UNUSED_SECONDS = 61


@pytest_asyncio.fixture(loop_scope="module")
async def client(url: str) -> AsyncIterator[Client]:
    async with Client(url) as client:
        yield client


class Frames:
    """What a page sends and receives over its WebSockets from now on."""

    def __init__(self, page: Page) -> None:
        self.sent: list[str] = []
        self.received: list[str] = []
        page.on("websocket", self._follow)

    def _follow(self, socket: WebSocket) -> None:
        socket.on("framesent", lambda frame: self.sent.append(str(frame)))
        socket.on("framereceived", lambda frame: self.received.append(str(frame)))

    def count(self, method: str) -> int:
        return sum(f'"{method}"' in frame for frame in self.sent)

    async def arrives(self, text: str) -> None:
        await wait_until(
            lambda: any(text in frame for frame in self.received), f"{text!r} has arrived"
        )


def calls(page: Page, text: str) -> list[str]:
    """The methods that the page calls from now on with a text in the parameters."""
    called: list[str] = []

    def note(request: Request) -> None:
        if request.url.endswith("/rpc") and text in (request.post_data or ""):
            called.append(json.loads(request.post_data or "")["method"])

    page.on("request", note)
    return called


def is_list(request: Request) -> bool:
    return '"tasks.list"' in (request.post_data or "")


async def leave(page: Page) -> None:
    """Let the page be unused for a minute, and stop its clock then."""
    now = await page.evaluate("Date.now() / 1000")
    await page.clock.pause_at(now + UNUSED_SECONDS)


async def test_a_list_is_read_once_and_again_when_something_has_happened(
    url: str, client: Client, page: Page
) -> None:
    await page.add_init_script(ONLY_EVENTS)
    await client.tasks.create({"id": "once", "delay": 3600, "commands": ECHO})
    called = calls(page, '"once"')
    discovered = calls(page, "rpc.discover")
    await page.goto(f"{url}/tasks?id=once&status=SUSPENDED")
    await expect(page.get_by_role("main")).to_contain_text("No task matches")
    await expect(page.get_by_role("button", name="Live")).to_be_visible()
    await client.tasks.suspend("once")
    await expect(page.get_by_role("main")).to_contain_text("1 task matches")
    # The event of the creation can come after the subscription.
    assert called.count("tasks.list") in (2, 3)
    assert discovered == []


async def test_a_task_is_read_when_it_changes_and_not_when_others_do(
    url: str, client: Client, page: Page
) -> None:
    await page.add_init_script(ONLY_EVENTS)
    frames = Frames(page)
    await client.tasks.create({"id": "shown", "enabled": False, "commands": ECHO})
    await page.goto(f"{url}/task?id=shown")
    await expect(page.get_by_test_id("explain")).to_contain_text("`enabled` is false")
    await frames.arrives('"subscription"')
    await expect(page.get_by_role("button", name="Live")).to_be_visible()
    for number in range(5):
        await client.tasks.create({"id": f"other {number}", "enabled": False, "commands": ECHO})
    await client.tasks.update("shown", data={"description": "It has changed"})
    await client.tasks.suspend("shown")
    await expect(page.get_by_role("heading", level=1)).to_have_text("It has changed")
    await frames.arrives('"task.suspended"')
    assert not [frame for frame in frames.received if "other " in frame]


async def test_a_page_that_gets_too_many_events_shows_all_of_them_in_the_end(
    url: str, client: Client, page: Page
) -> None:
    await page.clock.install()
    frames = Frames(page)
    await page.goto(f"{url}/tasks?q=flood&status=FINISHED")
    await expect(page.get_by_role("main")).to_contain_text("No task matches")
    await frames.arrives('"subscription"')
    await leave(page)
    left, listened = frames.count("events.unsubscribe"), frames.count("events.subscribe")
    await client.tasks.m_create([{"description": "flood", "commands": ECHO} for _ in range(MANY)])
    await wait_until(
        lambda: frames.count("events.unsubscribe") > left, "the page listens no longer"
    )
    assert frames.count("events.subscribe") == listened

    async def finished() -> bool:
        counted = await client.tasks.count({"description": "flood", "status": "FINISHED"})
        return counted["count"] == MANY

    await wait_until(finished, "all of them have finished", PATIENCE_SECONDS)
    await page.clock.fast_forward(30_000)
    await wait_until(lambda: frames.count("events.subscribe") > listened, "the page listens again")
    await page.clock.resume()
    await page.mouse.move(100, 100)
    await expect(page.get_by_role("main")).to_contain_text(f"{MANY} tasks match")


async def test_a_page_that_nobody_uses_asks_when_somebody_does(
    url: str, client: Client, page: Page
) -> None:
    await client.tasks.create({"id": "unused", "delay": 3600, "commands": ECHO})
    await page.clock.install()
    frames = Frames(page)
    called = calls(page, '"tasks.list"')
    answered: list[Request] = []
    page.on("requestfinished", lambda one: answered.append(one) if is_list(one) else None)
    await page.goto(f"{url}/tasks?id=unused&status=SUSPENDED")
    await expect(page.get_by_role("main")).to_contain_text("No task matches")
    await frames.arrives('"subscription"')
    await expect(page.get_by_role("button", name="Live")).to_be_visible()
    await leave(page)
    for _ in range(2):
        await page.clock.run_for(2_000)
        await wait_until(lambda: len(answered) == len(called), "each list is answered")
    before = len(called)
    await client.tasks.suspend("unused")
    await frames.arrives('"task.suspended"')
    await page.clock.fast_forward(5_000)
    await expect(page.get_by_role("main")).to_contain_text("No task matches")
    assert len(called) == before
    await page.clock.resume()
    await page.mouse.move(100, 100)
    await expect(page.get_by_role("main")).to_contain_text("1 task matches")

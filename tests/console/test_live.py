"""What a page asks of the manager, and when it asks again."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from playwright.async_api import Page, Request, Route, WebSocketRoute, expect

from kaiju_tasks import Client
from tests.console.traffic import Frames, calls
from tests.support.wait import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")
ECHO = [{"method": "do.echo"}]
MANY = 300
DAY = 86_400
PATIENCE_SECONDS = 120.0
NO_POLLS = """
const repeat = window.setInterval;
window.setInterval = (of, ms, ...rest) => (ms >= 10_000 ? 0 : repeat(of, ms, ...rest));
"""
"""The page does not ask regularly."""
ONLY_EVENTS = f"""{NO_POLLS}
const later = window.setTimeout;
window.setTimeout = (of, ms, ...rest) => (ms === 500 ? 0 : later(of, ms, ...rest));
"""
"""Nor does it ask before it has subscribed, however long that takes."""
UNUSED_SECONDS = 61


@pytest_asyncio.fixture(loop_scope="module")
async def client(url: str) -> AsyncIterator[Client]:
    async with Client(url) as client:
        yield client


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


class Refusals:
    """Stands between a page and its manager, and refuses subscriptions.

    :param admits: whether the manager gets the subscription that the page asks for now
    :ivar sockets: the WebSockets of the page
    :ivar refused: the ids of the refused calls
    """

    def __init__(self, admits: Callable[["Refusals"], bool]) -> None:
        self._admits = admits
        self.sockets: list[WebSocketRoute] = []
        self.refused: list[int] = []

    async def of(self, page: Page) -> None:
        """Stand between this page and its manager."""
        await page.route_web_socket(re.compile("/rpc$"), self._connect)

    def _connect(self, socket: WebSocketRoute) -> None:
        manager = socket.connect_to_server()
        self.sockets.append(socket)

        def pass_on(message: str | bytes) -> None:
            call = json.loads(message)
            if call["method"] != "events.subscribe" or self._admits(self):
                manager.send(message)
                return
            self.refused.append(call["id"])
            error = {"code": 429, "message": "There are too many subscriptions."}
            socket.send(json.dumps({"jsonrpc": "2.0", "id": call["id"], "error": error}))

        socket.on_message(pass_on)


async def test_a_page_whose_subscription_is_refused_for_now_asks_for_it_again(
    url: str, client: Client, page: Page
) -> None:
    refusals = Refusals(lambda it: bool(it.refused))
    await refusals.of(page)
    await page.add_init_script(NO_POLLS)
    await client.tasks.create({"id": "refused", "delay": 3600, "commands": ECHO})
    await page.goto(f"{url}/tasks?id=refused&status=SUSPENDED")
    await expect(page.get_by_role("main")).to_contain_text("No task matches")
    await wait_until(lambda: refusals.refused, "the subscription is refused")
    await client.tasks.suspend("refused")
    await expect(page.get_by_role("main")).to_contain_text("1 task matches")


async def test_a_page_whose_subscriptions_are_refused_again_and_again_does_without_events(
    url: str, client: Client, page: Page
) -> None:
    admitted = asyncio.Event()
    refusals = Refusals(lambda _: admitted.is_set())
    await refusals.of(page)
    await page.add_init_script(NO_POLLS)
    frames = Frames(page)
    await client.tasks.create({"id": "without", "delay": 3600, "commands": ECHO})
    await page.goto(f"{url}/tasks?id=without&status=SUSPENDED")
    await expect(page.get_by_role("main")).to_contain_text("No task matches")
    await expect(page.get_by_role("button", name="Live")).to_be_visible()
    await client.tasks.suspend("without")
    await expect(page.get_by_role("main")).to_contain_text("1 task matches")
    assert len(refusals.refused) >= 3
    before = len(refusals.refused)
    await wait_until(lambda: len(refusals.refused) > before, "the page asks for events again")
    admitted.set()
    await frames.arrives('"subscription"')
    await client.tasks.resume("without")
    await expect(page.get_by_role("main")).to_contain_text("No task matches")
    assert len(refusals.sockets) == 1


@pytest.mark.parametrize("document", ["openrpc.json", "rpc"])
async def test_the_answer_of_a_proxy_is_not_taken_for_that_of_the_manager(
    document: str, url: str, page: Page
) -> None:
    async def answer(route: Route) -> None:
        await route.fulfill(status=200, content_type="text/html", body="<h1>Back soon</h1>")

    await page.route(f"**/{document}", answer)
    await page.goto(f"{url}/about")
    trouble = page.get_by_text("The manager cannot be reached.")
    await expect(trouble).to_be_visible()
    await page.unroute(f"**/{document}")
    await expect(page.get_by_role("main")).to_contain_text("sqlite")
    await expect(trouble).to_have_count(0)


async def test_the_sentence_of_a_task_is_muted_until_it_is_that_of_its_status(
    url: str, client: Client, page: Page
) -> None:
    await client.tasks.create({"id": "explained", "delay": 3600, "commands": ECHO})
    answered = asyncio.Event()

    async def hold(route: Route) -> None:
        if '"tasks.explain"' in (route.request.post_data or ""):
            await answered.wait()
        await route.continue_()

    await page.goto(f"{url}/task?id=explained")
    sentence = page.get_by_test_id("explain")
    await expect(sentence).to_contain_text("IDLE")
    await expect(page.get_by_role("button", name="Live")).to_be_visible()
    await page.route("**/rpc", hold)
    await client.tasks.suspend("explained")
    await expect(page.locator(".sub")).to_contain_text("SUSPENDED")
    await expect(sentence).to_have_class(re.compile("muted"))
    await expect(sentence).to_contain_text("IDLE")
    answered.set()
    await expect(sentence).to_contain_text("SUSPENDED")
    await expect(sentence).not_to_have_class(re.compile("muted"))


async def test_trends_end_at_the_time_of_the_manager(url: str, client: Client, page: Page) -> None:
    now = (await client.system.info())["now"]
    await page.clock.install(time=now + 7 * DAY)
    async with page.expect_request(lambda one: '"stats.series"' in (one.post_data or "")) as asked:
        await page.goto(url)
    params = json.loads((await asked.value).post_data or "")["params"]
    assert now - DAY < params["end"] < now + DAY


@pytest.mark.parametrize("ahead", [-7 * DAY, 7 * DAY])
async def test_the_first_page_has_the_time_of_the_manager(
    ahead: int, url: str, client: Client, page: Page
) -> None:
    id = f"clock{ahead}"
    await client.tasks.create({"id": id, "delay": 3 * 3600 + 1800, "commands": ECHO})
    now = (await client.system.info())["now"]
    await page.clock.install(time=now + ahead)
    await page.goto(f"{url}/schedules")
    row = page.get_by_role("row").filter(has_text=id)
    await expect(row.get_by_role("time")).to_have_text("in 3 h")

"""Every screen, in both themes and at both widths: accessible, within its policy, truthful."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from kaiju_tasks import Client
from tests.console.accessible import looks
from tests.console.seed import FAILING, HOSTILE, HOSTILE_ID, LARGEST, invoice, seed
from tests.support.served import served
from tests.support.wait import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")
REWRITE = "KAIJU_TEST_REWRITE_DOCS"
PICTURES = Path(__file__).resolve().parents[2] / "docs" / "pictures"
FAILED = quote(invoice(0)["id"])
VIEWS = {
    "": "items need your attention",
    "tasks": "Tasks",
    f"task?id={FAILED}": "Render and send invoice 0",
    "task?id=approval": "Approve the payment of order 1182",
    f"task?id={quote(HOSTILE_ID, safe='')}": HOSTILE,
    "runs": "Runs",
    "timeline": "Timeline",
    "create": "New task",
    "commands": "Commands",
    f"edit?id={quote(HOSTILE_ID, safe='')}": f"Edit {HOSTILE_ID}",
    "waiting": "Waiting for people",
    "streams": "Streams",
    "executors": "Executors",
    "bulk": "Bulk calls",
    "schedules": "Schedules",
    "pauses": "Pauses",
    "notifications": "Notifications",
    "audit": "Audit",
    "about": "About",
    "tasks?q=nothing": "Tasks",
    "tasks?group=invoices&q=invoice&columns=group,method,created,labels": "Tasks",
}
SHOWN = {
    "": "1 task is suspended",
    "tasks": "hourly",
    f"task?id={FAILED}": "Why it failed",
    "task?id=approval": "Waiting for the message",
    f"task?id={quote(HOSTILE_ID, safe='')}": "Why it failed",
    "runs": "runs match",
    "timeline": "93 runs between",
    "create": "Add a stage to begin.",
    "commands": "do.echo",
    f"edit?id={quote(HOSTILE_ID, safe='')}": "No changes",
    "waiting": "Approve the payment of order 1182",
    "streams": "1 at a hook",
    "executors": "default",
    "bulk": "tasks.m_suspend",
    "schedules": "Europe/Berlin",
    "pauses": "The provider is away",
    "notifications": HOSTILE,
    "audit": "pauses.add",
    "about": "sqlite",
    "tasks?q=nothing": "No task matches these filters.",
    "tasks?group=invoices&q=invoice&columns=group,method,created,labels": "90 tasks match",
}
"""What each view shows when its data is there."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served() as url:
        yield url


@pytest_asyncio.fixture(loop_scope="module")
async def client(url: str) -> AsyncIterator[Client]:
    """A client of the manager, which has the tasks of `seed`."""
    async with Client(url) as client:
        if not await client.tasks.exists("held"):
            await seed(client)
        yield client


@pytest.mark.parametrize("view", VIEWS)
async def test_a_view_is_accessible_and_fits(
    view: str, url: str, client: Client, page: Page
) -> None:
    if os.environ.get(REWRITE):
        await wait_until(lambda: has_trends(client), "there are runs to draw")
    await page.goto(f"{url}/{view}")
    await expect(page.get_by_role("heading", level=1)).to_contain_text(VIEWS[view])
    await expect(page.get_by_role("main")).to_contain_text(SHOWN[view])
    async for theme, width in looks(page):
        if os.environ.get(REWRITE) and (name := picture(view, theme, width)):
            PICTURES.mkdir(exist_ok=True)
            await page.screenshot(path=PICTURES / name)
    assert await page.evaluate("window.hacked") is None


async def has_trends(client: Client) -> bool:
    now = (await client.system.info())["now"]
    stats = await client.stats.series(["runs.finished"], start=now - 3600, end=now + 60)
    return any(point["count"] for one in stats["data"] for point in one["points"])


def picture(view: str, theme: str, width: int) -> str | None:
    """The file in which the documentation shows this, if it does."""
    return {
        ("", "light", 1440): "console-overview.png",
        ("tasks", "light", 1440): "console-tasks.png",
        ("task?id=approval", "dark", 1440): "console-task.png",
        ("tasks", "dark", 360): "console-phone.png",
    }.get((view, theme, width))


async def test_numbers_are_shown_as_they_are_stored(url: str, client: Client, page: Page) -> None:
    await page.goto(f"{url}/task?id={quote(HOSTILE_ID, safe='')}")
    await page.get_by_text("Raw JSON").click()
    raw = page.get_by_role("group", name="the task as JSON")
    await expect(raw).to_contain_text(f'"largest": {LARGEST}')


async def test_the_box_finds_a_task_by_its_id_and_by_words(
    url: str, client: Client, page: Page
) -> None:
    await page.goto(url)
    box = page.get_by_role("searchbox", name="Find by id or words")
    await box.fill(HOSTILE_ID)
    await box.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE)
    await box.fill("send invoice 7")
    await box.press("Enter")
    await expect(page.get_by_role("main")).to_contain_text("11 tasks match")
    await page.reload()
    await expect(page.get_by_role("main")).to_contain_text("11 tasks match")


async def test_the_counts_are_those_of_the_manager(url: str, client: Client, page: Page) -> None:
    info = await client.system.info()
    await page.goto(f"{url}/tasks")
    for status, number in info["tasks"]["default"].items():
        if status != "SUSPENDED":
            await expect(page.get_by_role("button", name=f"{status} {number}")).to_be_visible()
    assert info["tasks"]["default"]["FAILED"] == FAILING + 1


async def test_what_cannot_be_done_says_why(url: str, client: Client, page: Page) -> None:
    await page.goto(f"{url}/task?id={FAILED}")
    resume = page.get_by_role("button", name="Resume")
    await expect(resume).to_have_attribute("aria-disabled", "true")
    await expect(resume).to_have_attribute("title", "The task is not suspended.")


async def test_a_dialog_is_left_by_the_keyboard(url: str, client: Client, page: Page) -> None:
    await page.goto(f"{url}/task?id={FAILED}")
    delete = page.get_by_role("button", name="Delete", exact=True)
    await delete.focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    assert (await client.tasks.get(invoice(0)["id"]))["status"] == "FAILED"


async def test_a_paused_page_sends_nothing(url: str, client: Client, page: Page) -> None:
    await page.goto(f"{url}/tasks?q=pause")
    await page.get_by_role("button", name="Live").click()
    await expect(page.get_by_role("button", name="Paused")).to_be_visible()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url))
    for number in range(20):
        await client.tasks.create(
            {"id": f"unseen {number}", "description": "pause", "commands": [{"method": "do.echo"}]}
        )
    assert asked == []
    await page.get_by_role("button", name="Paused").click()
    await expect(page.get_by_role("main")).to_contain_text("20 tasks match")
    for number in range(20):
        await client.tasks.delete(f"unseen {number}")

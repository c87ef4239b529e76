"""Pauses in the console: what they hold, and what one would hold that is being added."""

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Page, Request, expect

from kaiju_tasks import Client
from tests.console.accessible import looks

pytestmark = pytest.mark.asyncio(loop_scope="module")
ECHO = [{"method": "bill.send", "params": {"region": "eu"}}]


@pytest_asyncio.fixture(loop_scope="module")
async def client(url: str) -> AsyncIterator[Client]:
    async with Client(url) as client:
        if not await client.tasks.exists("a"):
            for name in ("a", "b"):
                await client.tasks.create({"id": name, "app_name": "billing", "commands": ECHO})
        yield client


def counted(page: Page) -> list[object]:
    """The conditions of the tasks that the page counts from now on."""
    found: list[object] = []

    def note(request: Request) -> None:
        data = json.loads(request.post_data or "{}") if request.url.endswith("/rpc") else {}
        if data.get("method") == "tasks.count":
            found.append(data["params"]["conditions"])

    page.on("request", note)
    return found


async def test_tasks_of_a_pause_with_a_condition_are_not_counted(
    url: str, client: Client, page: Page
) -> None:
    await client.pauses.add(reason="all of them", app_name="billing")
    await client.pauses.add(
        reason="some of them", app_name="billing", condition={"params.region": "us"}
    )
    await page.goto(f"{url}/pauses")
    every, some = (
        page.get_by_role("row").filter(has_text=f"{text} of them") for text in ("all", "some")
    )
    await expect(every.get_by_role("cell").nth(2)).to_have_text("2")
    await expect(some.get_by_role("cell").nth(2)).to_have_text("–")
    await expect(some).to_contain_text('stream billing, if {"params.region":"us"}')
    for pause in await client.pauses.list():
        await client.pauses.remove(pause["id"])


async def test_the_form_counts_what_a_pause_would_hold(
    url: str, client: Client, page: Page
) -> None:
    asked = counted(page)
    await page.goto(f"{url}/pauses")
    await expect(page.get_by_text("There are no pauses.")).to_be_visible()
    await page.get_by_text("Add a pause").click()
    await page.get_by_label("Reason").fill("no stream yet")
    await expect(page.get_by_role("button", name="Live")).to_be_visible()
    await page.get_by_label("Stream", exact=True).press_sequentially("billing")
    would = page.get_by_text("It would hold 2 queued tasks now, and later ones.")
    await expect(would).to_be_visible()
    async for _ in looks(page):
        await expect(would).to_be_visible()
    assert {"app_name": "billing", "status": "QUEUED", "system": False} in asked
    await page.get_by_label("Duration in minutes").fill("30")
    await page.get_by_role("button", name="Add the pause").click()
    await expect(page.get_by_role("row").filter(has_text="no stream yet")).to_contain_text("in ")
    await expect(page.get_by_text("It would hold")).to_have_count(0)
    await expect(page.get_by_label("Stream", exact=True)).to_have_value("")
    await expect(page.get_by_role("button", name="Add the pause")).to_be_focused()
    await page.get_by_label("Group", exact=True).fill("nobody")
    none = page.get_by_text("It would hold 0 queued tasks now, and later ones.")
    await expect(none).to_be_visible()
    assert {"status": "QUEUED", "system": False} not in asked
    (pause,) = await client.pauses.list()
    now = (await client.system.info())["now"]
    assert 0 < pause["until"] - now <= 30 * 60
    await client.pauses.remove(pause["id"])

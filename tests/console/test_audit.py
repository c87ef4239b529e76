"""The audit in the console: its filters, and the link from a task to its own."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from kaiju_tasks import Client

pytestmark = pytest.mark.asyncio(loop_scope="module")
ECHO = [{"method": "do.echo"}]
PERCENT = "50%"
OTHER = "500"
SHOWN = 50


@pytest_asyncio.fixture(loop_scope="module")
async def client(url: str) -> AsyncIterator[Client]:
    async with Client(url) as client:
        if not await client.tasks.exists(PERCENT):
            for id in (PERCENT, OTHER):
                await client.tasks.create({"id": id, "enabled": False, "commands": ECHO})
            await client.tasks.suspend(OTHER)
            for _ in range(SHOWN // 2 + 1):
                await client.tasks.suspend(PERCENT)
                await client.tasks.resume(PERCENT)
        yield client


async def test_a_filter_keeps_the_focus_and_follows_the_address(
    url: str, client: Client, page: Page
) -> None:
    await page.goto(f"{url}/audit")
    box = page.get_by_label("Target")
    await box.fill(OTHER)
    await box.press("Enter")
    rows = page.get_by_role("region", name="Audit").locator("tbody tr")
    await expect(rows).to_have_count(1)
    await expect(box).to_be_focused()
    await box.fill("nothing")
    await box.press("Enter")
    await expect(page.get_by_role("main")).to_contain_text("No action matches these filters.")
    await page.go_back()
    await expect(box).to_have_value(OTHER)
    await expect(rows).to_have_count(1)


async def test_the_audit_of_a_task_is_that_of_no_other(
    url: str, client: Client, page: Page
) -> None:
    await page.goto(f"{url}/task?id=50%25")
    await page.get_by_text("Audit: who did what to this task").click()
    await page.get_by_role("link", name="All actions").click()
    table = page.get_by_role("region", name="Audit")
    await expect(table.get_by_role("link", name=PERCENT, exact=True).first).to_be_visible()
    await expect(table.get_by_role("link", name=OTHER, exact=True)).to_have_count(0)

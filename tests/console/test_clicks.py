"""How many clicks it takes a person who knows nothing of the console, from its first page."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from kaiju_tasks import Client
from tests.support.wait import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")
FAILED = 2_000
PATIENCE_SECONDS = 240.0
"""How long so many runs may take on a slow machine."""
FAIL = [{"method": "do.fail", "params": {"message": "The provider was down"}}]
COUNT = """
sessionStorage.clicks = 0;
addEventListener("click", (event) => {
  if (event.isTrusted) sessionStorage.clicks = Number(sessionStorage.clicks) + 1;
}, true);
"""


@pytest_asyncio.fixture(loop_scope="module")
async def client(url: str) -> AsyncIterator[Client]:
    async with Client(url) as client:
        yield client


async def clicks(page: Page) -> int:
    return int(await page.evaluate("sessionStorage.clicks"))


async def test_why_a_task_does_not_run_takes_one_click(
    url: str, client: Client, page: Page
) -> None:
    task = {"id": "invoice", "app_name": "billing", "commands": [{"method": "bill.send"}]}
    await client.tasks.create(task)
    await page.add_init_script(COUNT)
    await page.goto(url)
    await page.get_by_role("link", name="1 task waits in billing, and no executor takes it").click()
    row = page.get_by_role("row").filter(has_text="invoice")
    await expect(row).to_contain_text("no executor serves the stream 'billing'")
    assert await clicks(page) == 1


async def test_two_thousand_failed_tasks_are_restarted_in_five_clicks(
    url: str, client: Client, page: Page
) -> None:
    for _ in range(2):
        await client.tasks.m_create([{"commands": FAIL} for _ in range(FAILED // 2)])

    async def failed() -> bool:
        return (await client.tasks.count({"status": "FAILED"}))["count"] == FAILED

    await wait_until(failed, "all of them have failed", PATIENCE_SECONDS)
    await page.add_init_script(COUNT)
    await page.goto(url)
    await page.get_by_role("link", name="2,000 tasks have failed").click()
    await expect(page.get_by_role("main")).to_contain_text("2,000 tasks match")
    await page.get_by_role("button", name="Restart from the failed stage all…").click()
    dialog = page.get_by_role("dialog", name="Restart from the failed stage: 2,000 tasks?")
    await expect(dialog).to_contain_text("A new run begins at the stage that failed.")
    await dialog.get_by_role("button", name="Restart from the failed stage: 2,000 tasks").click()
    await expect(dialog).to_have_count(0)
    assert await clicks(page) <= 5

    async def restarted() -> list[tuple[str, int]]:
        return [(one["method"], one["matched"]) for one in (await client.bulk.list())["data"]]

    assert await wait_until(restarted, "the bulk call has begun") == [
        ("tasks.m_restart_from", FAILED)
    ]

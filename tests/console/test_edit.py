"""Editing a task, alone and against someone else; and the keys of the page."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from kaiju_tasks import Client

pytestmark = pytest.mark.asyncio(loop_scope="module")
LARGEST = 2**64 - 1
HELD = {
    "id": "held",
    "enabled": False,
    "description": "Send the invoices",
    "webhook": {"url": "https://example.com/hook", "secret": "kept, and never shown"},
    "commands": [{"method": "do.echo", "params": {"data": LARGEST}}],
}


@pytest_asyncio.fixture(loop_scope="module")
async def client(url: str) -> AsyncIterator[Client]:
    async with Client(url) as client:
        if not await client.tasks.exists("held"):
            await client.tasks.create(HELD)
        yield client


async def test_two_people_edit_a_task_and_nothing_is_lost(
    url: str, client: Client, page: Page
) -> None:
    await page.goto(f"{url}/task?id=held")
    await page.get_by_role("link", name="Edit").click()
    await expect(page.get_by_text("No changes")).to_be_visible()
    await page.get_by_label("description", exact=True).fill("Send the invoices of November")
    await page.get_by_text("Limits", exact=True).click()
    await page.get_by_label("priority", exact=True).fill("7")
    changes = page.get_by_role("region", name="Changed: description, priority")
    await expect(changes.get_by_role("group", name="Your changes")).to_contain_text(
        '+   "priority": 7'
    )
    await client.tasks.update("held", data={"priority": 3, "max_retries": 2})
    await page.get_by_label("Reason").fill("the month")
    await page.get_by_role("button", name="Save").click()
    collision = page.get_by_role("alert", name="Someone else has changed the task")
    await expect(collision).to_contain_text("Both of you have changed priority")
    await expect(collision).to_contain_text('+   "max_retries": 2')
    assert (await client.tasks.get("held"))["priority"] == 3
    await collision.get_by_role("button", name="Apply my changes to their version").click()
    await expect(collision).to_have_count(0)
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Send the invoices of November")
    task = await client.tasks.get("held")
    assert (task["priority"], task["max_retries"]) == (7, 2)
    assert task["commands"][0]["params"] == {"data": LARGEST}
    assert task["webhook"] == {"url": "https://example.com/hook", "secret": "***"}
    newest, *_ = await client.tasks.versions("held")
    assert (newest["changed"], newest["reason"]) == (["description", "priority"], "the month")
    await page.get_by_text("Versions of the definition").click()
    await page.get_by_text("the month").click()
    difference = page.get_by_role("group", name=f"Changes in version {newest['rev']}")
    await expect(difference).to_contain_text('+   "priority": 7')


async def test_a_field_that_is_removed_is_as_if_it_had_never_been_set(
    url: str, client: Client, page: Page
) -> None:
    await client.tasks.update("held", data={"group": "g", "max_exec_timeout": 20})
    await page.goto(f"{url}/edit?id=held")
    await page.get_by_label("group", exact=True).fill("")
    await page.get_by_label("max_exec_timeout", exact=True).fill("")
    await expect(page.get_by_text("Changed: group, max_exec_timeout")).to_be_visible()
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_test_id("explain")).to_be_visible()
    task = await client.tasks.get("held")
    assert (task["group"], task["max_exec_timeout"]) == (None, 300)


PRESS = """(keys) => {
  for (const key of keys) {
    document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  }
}"""
"""The second key of a pair must come soon after the first, however slow the machine is."""


async def test_keys_lead_to_screens_actions_and_rows(url: str, client: Client, page: Page) -> None:
    await page.goto(f"{url}/")
    await expect(page.get_by_role("button", name="Live")).to_be_visible()
    await page.evaluate(PRESS, ["g", "t"])
    await expect(page.get_by_role("heading", name="Tasks", level=1)).to_be_visible()
    await expect(page.get_by_role("link", name="held")).to_be_visible()
    await page.keyboard.press("j")
    await expect(page.get_by_role("link", name="held")).to_be_focused()
    await page.keyboard.press("x")
    await expect(page.get_by_text("1 selected")).to_be_visible()
    await page.keyboard.press("Enter")
    await expect(page.get_by_test_id("explain")).to_be_visible()
    await page.keyboard.press("Control+k")
    box = page.get_by_role("combobox", name="Screen, action or id")
    await box.fill("dele")
    await expect(page.get_by_role("option").first).to_contain_text("Delete")
    await box.press("Enter")
    await expect(page.get_by_role("dialog", name="Delete?")).to_be_visible()
    await page.keyboard.press("Escape")
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog", name="Keys")).to_contain_text("next or previous row")
    await page.keyboard.press("Escape")
    await page.keyboard.press("Control+k")
    await box.fill("held")
    await box.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Send the invoices")


LEAVE_AND_OPEN = """() => {
  const key = { key: "k", ctrlKey: true, bubbles: true };
  document.querySelector("dialog").close();
  document.body.dispatchEvent(new KeyboardEvent("keydown", key));
}"""
"""The browser sends the close event of the first dialog after the key that opens the second."""


async def test_a_dialog_that_is_left_does_not_close_the_next_one(url: str, page: Page) -> None:
    await page.goto(f"{url}/")
    await expect(page.get_by_role("button", name="Live")).to_be_visible()
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    await page.evaluate(LEAVE_AND_OPEN)
    await page.evaluate("() => new Promise((resolve) => setTimeout(resolve, 100))")
    await expect(page.get_by_role("dialog", name="Go to, or do")).to_be_visible()
    await expect(page.get_by_role("dialog", name="Keys")).to_have_count(0)


async def test_a_question_is_asked_again_after_it_was_closed(
    url: str, client: Client, page: Page
) -> None:
    await page.goto(f"{url}/task?id=held")
    for _ in range(2):
        await page.get_by_role("button", name="Delete").click()
        await expect(page.get_by_role("dialog", name="Delete?")).to_be_visible()
        await page.evaluate("document.querySelector('dialog').close()")
        await expect(page.get_by_role("dialog")).to_have_count(0)
    assert await client.tasks.exists("held")

"""Filters with suggestions, chosen columns and saved views of the list of tasks."""

import re
from collections.abc import AsyncIterator
from typing import Literal

import pytest
import pytest_asyncio
from playwright.async_api import Locator, Page, expect

from kaiju_tasks import Client
from tests.console.accessible import WIDTHS, looks
from tests.console.seed import HOSTILE, ends

pytestmark = pytest.mark.asyncio(loop_scope="module")
ECHO = [{"method": "do.echo"}]
USUAL = ["Stream", "Stage", "Retries", "Since", "Next run"]
FAIL = [{"method": "do.fail", "params": {"message": "no"}}]


@pytest_asyncio.fixture(loop_scope="module")
async def client(url: str) -> AsyncIterator[Client]:
    async with Client(url) as client:
        if not await client.tasks.exists("a"):
            team = {"labels": {"team": "night"}}
            await client.tasks.create({"id": "a", "group": "mail", "commands": ECHO, **team})
            await client.tasks.create({"id": "b", "group": HOSTILE, "commands": ECHO})
            await client.tasks.create({"id": "c", "group": "mail", "commands": FAIL, **team})
            for id in ("a", "b", "c"):
                await ends(client, id)
        yield client


async def wide(page: Page) -> None:
    await page.set_viewport_size({"width": WIDTHS[0][0], "height": WIDTHS[0][1]})


async def unfold(page: Page) -> None:
    """Show the controls also where a phone folds them away."""
    await page.set_viewport_size({"width": WIDTHS[1][0], "height": WIDTHS[1][1]})
    await page.get_by_role("button", name="Filters, order, columns, views").click()
    await wide(page)


def tasks(page: Page) -> Locator:
    return page.locator("tbody .what a")


async def test_a_filter_is_suggested_and_removed(url: str, client: Client, page: Page) -> None:
    await page.goto(f"{url}/tasks")
    await expect(tasks(page)).to_have_count(3)
    await unfold(page)
    box = page.get_by_role("combobox", name="Filter")
    await box.fill("gr")
    options = page.get_by_role("listbox").get_by_role("option")
    await expect(options.first).to_have_text("group:")
    async for _ in looks(page):
        await expect(options.first).to_have_text("group:")
    await wide(page)
    await box.press("ArrowDown")
    await expect(options.first).to_have_attribute("aria-selected", "true")
    await box.press("Enter")
    await expect(box).to_have_value("group:")
    await expect(options).to_have_text([f"group: {HOSTILE}", "group: mail"])
    await box.press("ArrowUp")
    await box.press("Enter")
    await expect(tasks(page)).to_have_count(2)
    await expect(options).to_have_count(0)
    await box.fill("night")
    await options.filter(has_text="label.team: night").click()
    await box.fill("error: execution%")
    await box.press("Enter")
    await expect(tasks(page)).to_have_text(["c"])
    await expect(page.get_by_role("group", name="Filters").get_by_role("button")).to_have_count(3)
    await page.reload()
    await expect(tasks(page)).to_have_text(["c"])
    await page.get_by_role("button", name="Remove the filter error: execution%").click()
    await expect(tasks(page)).to_have_count(2)
    await page.go_back()
    await expect(tasks(page)).to_have_text(["c"])


@pytest.mark.parametrize(("width", "role"), [(1440, "combobox"), (360, "button")])
async def test_the_focus_stays_at_the_filters(
    width: int, role: Literal["combobox", "button"], url: str, client: Client, page: Page
) -> None:
    await page.set_viewport_size({"width": width, "height": 740})
    await page.goto(f"{url}/tasks?group=mail&method=do.echo&priority=0")
    filters = page.get_by_role("group", name="Filters").get_by_role("button")
    await filters.nth(1).press("Enter")
    await expect(filters).to_have_count(2)
    await expect(filters.nth(1)).to_be_focused()
    await filters.nth(1).press("Enter")
    await expect(filters).to_have_count(1)
    await expect(filters).to_be_focused()
    await filters.press("Enter")
    await expect(filters).to_have_count(0)
    await expect(page.get_by_role(role, name="Filter").and_(page.locator(":focus"))).to_be_visible()


async def test_methods_of_executors_are_suggested(url: str, client: Client, page: Page) -> None:
    await page.goto(f"{url}/tasks")
    box = page.get_by_role("combobox", name="Filter")
    await box.fill("method: do.sle")
    await page.get_by_role("option", name="method: do.sleep", exact=True).click()
    await expect(page.get_by_role("main")).to_contain_text("No task matches these filters.")
    await box.fill("nothing like it")
    await box.press("Enter")
    chips = page.get_by_role("group", name="Filters").get_by_role("button")
    await expect(chips.last).to_contain_text("description contains “nothing like it”")


async def test_columns_are_chosen_and_remembered(url: str, client: Client, page: Page) -> None:
    await page.goto(f"{url}/tasks?group=mail")
    await unfold(page)
    await page.get_by_text("Columns", exact=True).click()
    menu = page.get_by_role("group", name="Columns")
    await menu.get_by_role("checkbox", name="Labels").check()
    await menu.get_by_role("checkbox", name="Stage").uncheck()
    heads = page.locator("thead th:not(.pick)")
    now = ["Status", "Task", "Stream", "Retries", "Since", "Next run", "Labels"]
    await expect(heads).to_have_text(now)
    await expect(page.locator("tbody tr").first).to_contain_text("team: night")
    async for _ in looks(page):
        await expect(menu).to_be_visible()
    await wide(page)
    await page.goto(f"{url}/tasks")
    await expect(heads).to_have_text(now)
    chosen = re.compile("columns=app_name%2Cretries%2Csince%2Cnext_run%2Clabels")
    await expect(page).to_have_url(chosen)
    await page.get_by_text("Columns", exact=True).click()
    await menu.get_by_role("button", name="Usual columns").click()
    await expect(heads).to_have_text(["Status", "Task", *USUAL])
    await expect(page).not_to_have_url(re.compile("columns"))


async def test_a_view_is_saved_opened_and_deleted(url: str, client: Client, page: Page) -> None:
    await page.goto(f"{url}/tasks?group=mail&status=FAILED&columns=group")
    await expect(tasks(page)).to_have_text(["c"])
    await unfold(page)
    views = page.get_by_role("group", name="Saved views")
    await views.get_by_role("button", name="Save this view").click()
    await page.get_by_label("Name of the view").fill(HOSTILE)
    async for _ in looks(page):
        await expect(page.get_by_label("Name of the view")).to_have_value(HOSTILE)
    await wide(page)
    await page.get_by_role("button", name="Save", exact=True).click()
    link = views.get_by_role("link", name=HOSTILE)
    await expect(link).to_have_attribute("aria-current", "page")
    async for _ in looks(page):
        await expect(link).to_have_count(1)
    await wide(page)
    await page.goto(f"{url}/tasks")
    await expect(tasks(page)).to_have_count(3)
    await link.click()
    await expect(tasks(page)).to_have_text(["c"])
    await expect(page.locator("thead th:not(.pick)")).to_have_text(["Status", "Task", "Group"])
    await views.get_by_role("button", name=f"Delete the view {HOSTILE}").click()
    await expect(link).to_have_count(0)
    await page.reload()
    await expect(tasks(page)).to_have_text(["c"])
    await expect(link).to_have_count(0)
    assert await page.evaluate("window.hacked") is None


async def test_a_click_on_a_head_sorts(url: str, client: Client, page: Page) -> None:
    await page.goto(f"{url}/tasks")
    await wide(page)
    await expect(tasks(page)).to_have_text(["c", "b", "a"])
    head = page.get_by_role("columnheader", name="Task")
    await head.get_by_role("button").click()
    await expect(tasks(page)).to_have_text(["a", "b", "c"])
    await expect(head).to_have_attribute("aria-sort", "ascending")
    await head.get_by_role("button").click()
    await expect(head).to_have_attribute("aria-sort", "descending")
    await expect(tasks(page)).to_have_text(["c", "b", "a"])
    await expect(page).to_have_url(re.compile("sort=-id"))
    await page.reload()
    await expect(head).to_have_attribute("aria-sort", "descending")
    await page.go_back()
    await expect(tasks(page)).to_have_text(["a", "b", "c"])


async def test_columns_are_moved(url: str, client: Client, page: Page) -> None:
    await page.goto(f"{url}/tasks?columns=group,stage,since")
    await wide(page)
    await page.get_by_text("Columns", exact=True).click()
    left = page.get_by_role("button", name="Move Since to the left")
    await left.click()
    heads = page.locator("thead th:not(.pick)")
    await expect(heads).to_have_text(["Status", "Task", "Group", "Since", "Stage"])
    await expect(left).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(heads).to_have_text(["Status", "Task", "Since", "Group", "Stage"])
    await expect(left).to_be_focused()
    await expect(left).to_be_disabled()
    await page.keyboard.press("Enter")  # does nothing, as the columns after the next move show
    right = page.get_by_role("button", name="Move Since to the right")
    await right.focus()
    for now in (["Group", "Since", "Stage"], ["Group", "Stage", "Since"]):
        await page.keyboard.press("Enter")
        await expect(heads).to_have_text(["Status", "Task", *now])
        await expect(right).to_be_focused()
    await expect(right).to_have_attribute("aria-disabled", "true")
    await left.click()
    await left.click()
    await expect(page).to_have_url(re.compile("columns=since%2Cgroup%2Cstage"))


async def test_numbers_and_times_are_compared(url: str, client: Client, page: Page) -> None:
    await page.goto(f"{url}/tasks")
    await wide(page)
    box = page.get_by_role("combobox", name="Filter")
    await box.fill("exit code: lots")
    await box.press("Enter")
    await expect(page.get_by_text("exit code can be 0, >0, 1..3.")).to_be_visible()
    await expect(tasks(page)).to_have_count(3)
    await box.fill("exit code > 0")
    await box.press("Enter")
    await expect(tasks(page)).to_have_text(["c"])
    await box.fill("created: <24h")
    await box.press("Enter")
    await expect(page.get_by_role("group", name="Filters").get_by_role("button")).to_have_count(2)
    await expect(tasks(page)).to_have_text(["c"])
    await box.fill("created: >24h")
    await box.press("Enter")
    await expect(page.get_by_role("main")).to_contain_text("No task matches these filters.")
    await page.goto(f"{url}/tasks?retries=many")
    await expect(page.get_by_role("alert")).to_contain_text("conditions.retries")

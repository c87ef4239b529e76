"""Making a task in the console: from the catalogue, typed, checked while it is made."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from kaiju_tasks import Client
from kaiju_tasks.cli.files import read_task
from tests.console.accessible import looks
from tests.console.seed import HOSTILE, LARGEST

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def client(url: str) -> AsyncIterator[Client]:
    async with Client(url) as client:
        yield client


def accepted(page: Page) -> Any:
    return page.get_by_text("The manager would accept this task.")


async def test_a_task_is_made_from_the_catalogue(url: str, client: Client, page: Page) -> None:
    await page.goto(f"{url}/commands?q=do.sleep")
    await page.locator("summary", has_text="Sleep, and return").first.click()
    await page.get_by_role("link", name="New task with this command").click()
    create = page.get_by_role("button", name="Create the task")
    seconds = page.get_by_role("textbox", name="seconds", exact=True)
    await seconds.fill("-1")
    await expect(page.locator(".warning")).to_contain_text("seconds")
    await seconds.fill("0.5")
    await expect(accepted(page)).to_be_visible()
    await page.get_by_label("Add a command").select_option("do.echo")
    second = page.get_by_role("group", name="Stage 2").first
    await second.get_by_label("data", exact=True).fill(f'{{"largest": {LARGEST}')
    await expect(second).to_contain_text("This is not complete JSON.")
    await second.get_by_label("data", exact=True).fill(f'{{"largest": {LARGEST}}}')
    await page.get_by_role("textbox", name="id", exact=True).fill("made")
    await expect(accepted(page)).to_be_visible()
    await create.click()
    await expect(page.get_by_test_id("explain")).to_contain_text("FINISHED")
    task = await client.tasks.get("made")
    assert [one["params"] for one in task["commands"]] == [
        {"seconds": 0.5},
        {"data": {"largest": LARGEST}},
    ]
    assert task["result"] == [0.5, {"largest": LARGEST}]


async def test_another_like_it_is_made_with_a_template_and_a_schedule(
    url: str, client: Client, page: Page
) -> None:
    if not await client.tasks.exists("first"):
        sleep = {"method": "do.sleep", "params": {"seconds": 0.1}, "name": "nap"}
        echo = {"method": "do.echo", "params": {"data": LARGEST}}
        await client.tasks.create({"id": "first", "max_retries": 2, "commands": [sleep, echo]})
    await page.goto(f"{url}/task?id=first")
    await page.get_by_role("link", name="New task like this").click()
    second = page.get_by_role("group", name="Stage 2").first
    await expect(second.get_by_label("data", exact=True)).to_have_value(str(LARGEST))
    await second.get_by_role("button", name="data: template").click()
    await second.get_by_label("data", exact=True).fill("[nap]")
    await page.get_by_label("Starts").select_option("by a cron expression")
    await page.get_by_label("cron", exact=True).fill("0 8 * * 8")
    await expect(page.get_by_role("main")).to_contain_text("use 0-7")
    await page.get_by_label("cron", exact=True).fill("0 8 29 2 *")
    await page.get_by_label("timezone", exact=True).fill("Asia/Kathmandu")
    await expect(page.get_by_role("main")).to_contain_text(re.compile(r"29 Feb 20\d\d, 02:15:00"))
    await page.get_by_role("textbox", name="id", exact=True).fill("second")
    await page.get_by_role("button", name="Create the task").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("second")
    made = await client.tasks.get("second")
    assert made["commands"][1]["params"] == {"data": "[nap]"}
    assert (made["cron"], made["timezone"], made["max_retries"]) == (
        "0 8 29 2 *",
        "Asia/Kathmandu",
        2,
    )


async def test_the_json_beside_the_form_is_the_same_task(
    url: str, client: Client, page: Page
) -> None:
    await page.goto(f"{url}/create")
    box = page.get_by_role("textbox", name="The task as JSON")
    await box.fill(
        '{"commands": [{"method": "nobody.knows", "params": {"n": 1.50}}], "priority": 5'
    )
    await expect(page.get_by_role("main")).to_contain_text("This is not complete JSON.")
    await box.fill(
        '{"commands": [{"method": "nobody.knows", "params": {"n": 1.50}}], "priority": 5}'
    )
    await expect(page.get_by_label("n", exact=True)).to_have_value("1.50")
    await expect(page.get_by_label("priority", exact=True)).to_have_value("5")
    await expect(page.locator(".warning")).to_contain_text("nobody.knows")
    await page.get_by_label("priority", exact=True).fill("7")
    await expect(box).to_have_value(re.compile(r'"n": 1\.50'))
    await page.get_by_text("Copy as curl").click()
    python = page.get_by_role("group", name="The call for Python")
    await expect(python).to_contain_text('{"n": 1.50}')


async def test_the_yaml_of_a_task_is_the_task(url: str, page: Page, tmp_path: Path) -> None:
    params = {
        "script": "set -e\nmake all\n",
        "text": f"yes # {HOSTILE}\u2028\x85\x7f\U0001f9a5",
        "numbers": [LARGEST, 1e-9, 1e300, -1.5],
        "on": {"no": None, "": [[], {}, [True, "true"]]},
        "templates": ["[0.total]", "*", "@daily", "2026-11-28", "12:30"],
    }
    task = {"commands": [{"method": "do.echo", "params": params}], "cron": "*/5 * * * *"}
    await page.goto(f"{url}/create")
    await page.get_by_role("textbox", name="The task as JSON").fill(json.dumps(task))
    await page.get_by_role("button", name="YAML", exact=True).click()
    text = await page.get_by_role("group", name="The task as YAML").text_content()
    (tmp_path / "task.yaml").write_text(text or "")
    assert read_task(str(tmp_path / "task.yaml")) == task
    async for _ in looks(page):
        await expect(page.get_by_role("button", name="YAML", exact=True)).to_have_attribute(
            "aria-pressed", "true"
        )


async def test_the_focus_goes_with_a_stage_that_is_moved(url: str, page: Page) -> None:
    await page.goto(f"{url}/create")
    await page.get_by_role("button", name="Wait for some time").click()
    await page.get_by_role("button", name="Wait for a message").click()
    await page.get_by_role("button", name="Run other tasks").click()
    methods = page.get_by_label("Method", exact=True)
    await expect(methods).to_have_count(3)
    await page.get_by_role("button", name="Move stage 3 up").click()
    up = page.get_by_role("button", name="Move stage 2 up")
    await expect(up).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(methods.first).to_have_value("_TASKS_")
    first = page.get_by_role("button", name="Move stage 1 up")
    await expect(first).to_be_focused()
    await expect(first).to_be_disabled()

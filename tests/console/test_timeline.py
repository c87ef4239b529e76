"""The timeline: runs as bars in lanes, and what a person does with them."""

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from kaiju_tasks import Client
from tests.console.seed import ends

pytestmark = pytest.mark.asyncio(loop_scope="module")
STAGES = {
    "id": "stages",
    "labels": {"team": "mail"},
    "commands": [
        {"method": "do.echo", "name": "fetch"},
        {"method": "_TIMER_", "params": {"timer": 0.1}},
        {"method": "do.fail", "params": {"message": "no such customer"}, "name": "send"},
    ],
}


@pytest_asyncio.fixture(loop_scope="module")
async def client(url: str) -> AsyncIterator[Client]:
    async with Client(url) as client:
        if not await client.tasks.exists("stages"):
            await client.marks.add("v2.3")
            await client.tasks.create(STAGES)
            await ends(client, "stages")
            await client.tasks.create({"id": "asks", "commands": [{"method": "_MESSAGE_"}]})
            await client.tasks.create(
                {"id": "often", "every": 60, "commands": [{"method": "do.echo"}]}
            )
        yield client


async def test_a_run_is_chosen_by_its_bar_and_shows_its_stages(
    url: str, client: Client, page: Page
) -> None:
    await page.goto(f"{url}/timeline?by=label&key=team&span=900")
    lane = page.get_by_role("img", name="mail: 1 run, 1 failed, cancelled or missed")
    shape = await lane.locator(".bar-cap").bounding_box()
    assert shape is not None
    await page.mouse.move(shape["x"] - 1, shape["y"] + shape["height"] / 2)
    await expect(page.get_by_text("execution_error: no such customer")).to_be_visible()
    await page.mouse.down()
    await page.mouse.up()
    chosen = page.get_by_role("region", name="stages")
    await expect(chosen.get_by_role("listitem")).to_have_text(
        [
            re.compile(".*".join(words))
            for words in (("fetch", "finished"), ("_TIMER_",), ("send", "failed"))
        ]
    )
    (run,) = await client.tasks.runs("stages")
    assert f"run={run['job_id']}" in page.url


async def test_open_runs_marks_and_coming_fires_are_shown(
    url: str, client: Client, page: Page
) -> None:
    await page.goto(f"{url}/timeline?by=task&span=3600")
    await expect(page.get_by_text("▾ v2.3")).to_be_visible()
    asks = page.get_by_role("img", name="asks: 1 run, 0 failed, cancelled or missed")
    await expect(asks.locator(".bar-waiting")).to_have_count(1)
    often = page.get_by_role("img", name=re.compile("^often: "))
    await expect(often.locator(".bar-coming")).to_have_count(1)
    await page.get_by_text("As a table").click()
    table = page.get_by_role("region", name="Runs in this range")
    await expect(table).to_contain_text("waits")
    await client.tasks.message("asks", data=None)
    await expect(asks.locator(".bar-finished")).to_have_count(1)


async def test_a_range_is_dragged_and_stands_in_the_address(
    url: str, client: Client, page: Page
) -> None:
    await page.goto(f"{url}/timeline?by=stream")
    lane = page.get_by_role("img", name=re.compile("^default: "))
    shape = await lane.bounding_box()
    assert shape is not None
    await page.mouse.move(shape["x"] + 200, shape["y"] + 5)
    await page.mouse.down()
    await page.mouse.move(shape["x"] + 400, shape["y"] + 5, steps=4)
    await page.mouse.up()
    await expect(page).to_have_url(re.compile(r"from=\d+&to=\d+"))
    await expect(page.get_by_role("button", name="1 h", exact=True)).to_have_attribute(
        "aria-pressed", "false"
    )
    await page.go_back()
    await expect(page.get_by_role("button", name="1 h", exact=True)).to_have_attribute(
        "aria-pressed", "true"
    )

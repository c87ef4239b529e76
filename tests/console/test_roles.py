"""What the console shows to each kind of principal."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from kaiju_tasks.rights import Kind
from kaiju_tasks.settings import load_settings
from tests.console.test_sign_in import sign_in
from tests.server.conftest import Site, open_site
from tests.server.test_tokens import bearer, token_of

pytestmark = pytest.mark.asyncio(loop_scope="module")
REFUSED = "Your token does not allow this."
ACTIONS = ("Run now", "Suspend", "Cancel", "Delete")
SCREENS = {
    "Tasks": (Kind.VIEWER, Kind.USER, Kind.OPERATOR, Kind.ADMIN),
    "New task": (Kind.USER, Kind.OPERATOR, Kind.ADMIN),
    "Schedules": (Kind.VIEWER, Kind.USER, Kind.OPERATOR, Kind.ADMIN),
    "Streams": (Kind.VIEWER, Kind.USER, Kind.OPERATOR, Kind.ADMIN),
    "Audit": (Kind.USER, Kind.OPERATOR, Kind.ADMIN),
}
"""Who may open a screen."""


@pytest_asyncio.fixture(loop_scope="module")
async def site() -> AsyncIterator[Site]:
    async with open_site(load_settings(environ={})) as opened:
        yield opened


async def create(site: Site, token: str, **task: Any) -> None:
    data = {"commands": [{"method": "do.echo"}], **task}
    call = {"jsonrpc": "2.0", "id": 1, "method": "tasks.create", "params": {"data": data}}
    answer = await (await site.post(call, headers=bearer(token))).json()
    assert "result" in answer, answer


async def signed_in(site: Site, page: Page, kind: Kind) -> None:
    """Sign in as a principal of a kind; each but the viewer has a task of its own."""
    for one in Kind:
        token = await token_of(site.manager, one.value, one)
        if one in (Kind.USER, Kind.OPERATOR, Kind.ADMIN):
            await create(site, token, id=f"of-{one.value}", delay=3600)
        if one is kind:
            mine = token
    await page.goto(f"{site.url}/tasks?sort=id")
    await sign_in(page, mine)
    await expect(page.get_by_role("button", name=f"Sign out {kind.value}")).to_be_visible()


@pytest.mark.parametrize(
    ("kind", "seen"),
    [
        (Kind.VIEWER, ["of-admin", "of-operator", "of-user"]),
        (Kind.USER, ["of-user"]),
        (Kind.OPERATOR, ["of-admin", "of-operator", "of-user"]),
        (Kind.ADMIN, ["of-admin", "of-operator", "of-user"]),
    ],
)
async def test_a_principal_sees_and_may_use_what_its_kind_allows(
    kind: Kind, seen: list[str], site: Site, page: Page
) -> None:
    await signed_in(site, page, kind)
    await expect(page.locator("td.what a")).to_have_text(seen)
    may_change = kind is not Kind.VIEWER
    await page.get_by_role("link", name=seen[-1]).click()
    for action in ACTIONS:
        button = page.get_by_role("button", name=action, exact=True)
        await expect(button).to_be_visible()
        if may_change:
            await expect(button).not_to_have_attribute("aria-disabled", "true")
        else:
            await expect(button).to_have_attribute("aria-disabled", "true")
            await expect(button).to_have_attribute("title", REFUSED)
    if may_change:
        await page.get_by_role("button", name="Delete", exact=True).click()
        await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        await expect(page.get_by_role("dialog")).to_have_count(0)
        await page.get_by_role("link", name="Tasks", exact=True).click()
        await expect(page.locator("td.what a")).to_have_text(seen[:-1])


@pytest.mark.parametrize("kind", [Kind.VIEWER, Kind.USER, Kind.OPERATOR, Kind.ADMIN])
async def test_a_screen_that_may_not_be_read_says_so(kind: Kind, site: Site, page: Page) -> None:
    await signed_in(site, page, kind)
    for screen, kinds in SCREENS.items():
        await page.get_by_role("link", name=screen, exact=True).click()
        await expect(page.get_by_role("heading", level=1)).to_have_text(screen)
        refused = page.get_by_role("main").get_by_text(REFUSED)
        await expect(refused).to_have_count(0 if kind in kinds else 1)


@pytest.mark.parametrize(
    ("kind", "may_pause"),
    [(Kind.VIEWER, False), (Kind.USER, False), (Kind.OPERATOR, True), (Kind.ADMIN, True)],
)
async def test_who_may_pause_a_stream(kind: Kind, may_pause: bool, site: Site, page: Page) -> None:
    await create(site, await token_of(site.manager, "queue", Kind.ADMIN))  # streams need work
    await signed_in(site, page, kind)
    await page.get_by_role("link", name="Streams", exact=True).click()
    pause = page.get_by_role("button", name="Pause the stream default")
    if may_pause:
        await pause.click()
        await expect(page.get_by_role("dialog")).to_contain_text("Pause the stream default?")
    else:
        await expect(pause).to_have_attribute("aria-disabled", "true")
        await expect(pause).to_have_attribute("title", REFUSED)

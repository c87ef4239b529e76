"""Signing in to the console, with each kind of rights."""

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from kaiju_tasks.api import method_registry
from kaiju_tasks.rights import Kind, Verb, read_token
from kaiju_tasks.settings import load_settings
from tests.console.traffic import Frames
from tests.server.conftest import Site, open_site
from tests.server.test_tokens import bearer, token_of

pytestmark = pytest.mark.asyncio(loop_scope="module")
TASK = {"id": "one", "commands": [{"method": "do.echo"}]}


@pytest_asyncio.fixture(loop_scope="module")
async def site() -> AsyncIterator[Site]:
    async with open_site(load_settings(environ={})) as opened:
        yield opened


async def sign_in(page: Page, token: str) -> None:
    await page.get_by_label("Token").fill(token)
    await page.get_by_role("button", name="Sign in").click()


async def test_a_browser_signs_in_and_its_session_ends_with_the_token(
    site: Site, page: Page
) -> None:
    root = await token_of(site.manager, "root", Kind.ADMIN)
    token = await token_of(site.manager, "ann", Kind.OPERATOR)
    await page.goto(f"{site.url}/tasks?status=FAILED")
    await sign_in(page, token[:-1] + "?")
    await expect(page.get_by_role("alert")).to_contain_text("This token is not valid.")
    await sign_in(page, token)
    await expect(page.get_by_role("button", name="Sign out ann")).to_be_visible()
    await expect(page.get_by_role("button", name="FAILED 0")).to_have_attribute(
        "aria-pressed", "true"
    )
    (cookie,) = await page.context.cookies()
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    assert token not in str(await page.evaluate("({...localStorage, cookie: document.cookie})"))
    await expect(page.get_by_role("button", name="Live")).to_be_visible()
    parts = read_token(token)
    assert parts is not None
    revoke = {"jsonrpc": "2.0", "id": 1, "method": "tokens.revoke", "params": {"id": parts.id}}
    assert "result" in await (await site.post(revoke, headers=bearer(root))).json()
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


async def test_signing_out_ends_the_session_on_every_page(site: Site, page: Page) -> None:
    token = await token_of(site.manager, "root", Kind.ADMIN)
    await page.goto(site.url)
    await sign_in(page, token)
    await expect(page.get_by_role("button", name="Live")).to_be_visible()
    other = await page.context.new_page()
    await other.goto(site.url)
    await expect(other.get_by_role("button", name="Live")).to_be_visible()
    await other.get_by_role("button", name="Sign out root").click()
    for one in (other, page):
        await expect(one.get_by_role("heading", name="Sign in")).to_be_visible()


async def test_who_may_only_read_sees_which_actions_are_refused(site: Site, page: Page) -> None:
    await site.call("tasks.create", data=TASK)
    token = await token_of(site.manager, "eve", Kind.VIEWER)
    await page.goto(f"{site.url}/task?id=one")
    await sign_in(page, token)
    allowed = {m.name for m in method_registry() if m.access.viewer.value != "none"}
    assert "tasks.reset" not in allowed
    for name in ("Restart", "Suspend", "Cancel", "Delete"):
        button = page.get_by_role("button", name=name, exact=True)
        await expect(button).to_have_attribute("title", "Your token does not allow this.")
    await page.get_by_role("link", name="Audit").click()
    await expect(page.get_by_role("main")).to_contain_text("Your token does not allow this.")


async def test_who_sees_only_some_streams_does_not_sort_by_the_parent(
    site: Site, page: Page
) -> None:
    await site.call("tasks.create", data=TASK)
    token = await token_of(site.manager, "max", Kind.OPERATOR, streams=("default",))
    await page.goto(f"{site.url}/tasks?columns=parent_id,group&sort=parent_id")
    await sign_in(page, token)
    await expect(page.get_by_text("lists cannot be sorted by `parent_id`")).to_be_visible()
    await expect(page).not_to_have_url(re.compile("sort="))
    await expect(
        page.get_by_role("columnheader", name="Group").get_by_role("button")
    ).to_be_visible()
    parent = page.get_by_role("columnheader", name="Parent")
    await expect(parent).to_be_visible()
    await expect(parent.get_by_role("button")).to_have_count(0)


async def test_who_may_not_follow_events_is_not_kept_waiting_for_them(
    site: Site, page: Page
) -> None:
    token = await token_of(site.manager, "bot", Kind.USER, verbs=(Verb.CREATE,))
    frames = Frames(page)
    await page.goto(site.url)
    await sign_in(page, token)
    await expect(page.get_by_role("button", name="Sign out bot")).to_be_visible()
    await expect(page.get_by_role("button", name="Live")).to_be_visible()
    await expect(page.get_by_role("alert")).to_contain_text("token")
    async with page.expect_response(re.compile("/rpc$")):
        await page.get_by_role("link", name="Tasks", exact=True).click()
    assert frames.sent == []

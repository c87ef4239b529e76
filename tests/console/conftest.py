"""A browser, and managers whose console it opens."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.support.browser import find_browser
from tests.support.served import served

FLAGS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
]
PATIENCE_MS = 60_000
CONSOLE_MESSAGES = ("error", "warning")
EXPECTED_MESSAGES = ("Failed to load resource", "WebSocket connection to")
"""What the browser itself says of answers that are errors, and of a manager that is away."""
WATCH_POLICY = """
window.violations = [];
addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sample}`);
});
"""

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The URL of a manager with the sample executor."""
    with served() as url:
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        program = str(find_browser().program)
        opened = await playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield opened
        await opened.close()


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A page that may neither log an error nor break its security policy."""
    context = await browser.new_context(locale="en-GB", timezone_id="UTC")
    context.set_default_timeout(PATIENCE_MS)
    opened = await context.new_page()
    said: list[str] = []
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on(
        "console",
        lambda message: said.append(message.text) if message.type in CONSOLE_MESSAGES else None,
    )
    await opened.add_init_script(WATCH_POLICY)
    yield opened
    assert await opened.evaluate("window.violations") == []
    assert [one for one in said if not one.startswith(EXPECTED_MESSAGES)] == []
    await context.close()

"""Whether a page is accessible and fits, in both themes and at both widths."""

from collections.abc import AsyncIterator

from playwright.async_api import Page

from tests.support.node import CONSOLE, ready_node

WIDTHS = ((1440, 900), (360, 740))
RUN_AXE = """axe.run({resultTypes: ["violations"]}).then((found) => found.violations.map(
    (one) => `${one.id}: ${one.nodes.map((node) => node.html).join(" ")}`))"""
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


async def looks(page: Page) -> AsyncIterator[tuple[str, int]]:
    """Check what the page shows in each theme and at each width.

    :returns: the theme and the width, in pixels, while the page has them
    :raises AssertionError: axe finds a violation, or the page scrolls to the side
    """
    ready_node()
    await page.evaluate((CONSOLE / "node_modules" / "axe-core" / "axe.min.js").read_text())
    for theme in ("light", "dark"):
        await page.emulate_media(color_scheme=theme, reduced_motion="reduce")  # type: ignore[arg-type, unused-ignore]
        for width, height in WIDTHS:
            await page.set_viewport_size({"width": width, "height": height})
            assert await page.evaluate(RUN_AXE) == [], f"{page.url} {theme} {width}"
            assert await page.evaluate(WIDER) <= 0, f"{page.url} {width} scrolls to the side"
            yield theme, width

"""Whether a page is accessible and fits, in both themes and at both widths."""

from collections.abc import AsyncIterator
from typing import Any

from playwright.async_api import Page

from tests.support.node import CONSOLE, ready_node

WIDTHS = ((1440, 900), (360, 740))
RULES_OF_COLOURS = ["color-contrast", "link-in-text-block"]
"""What a theme can break: it changes nothing but colours."""
THEMES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("light", {}),
    ("dark", {"runOnly": {"type": "rule", "values": RULES_OF_COLOURS}}),
)
RUN_AXE = """(options) => axe.run({resultTypes: ["violations"], ...options}).then((found) =>
    found.violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.html).join(" ")}`))"""
WIDER = """[document.documentElement, ...document.querySelectorAll(".scroll:has(table)")]
    .filter((one) => one.scrollWidth > one.clientWidth)
    .map((one) => one.getAttribute("aria-label") ?? "the page")"""


async def looks(page: Page) -> AsyncIterator[tuple[str, int]]:
    """Check what the page shows in each theme and at each width.

    :returns: the theme and the width, in pixels, while the page has them
    :raises AssertionError: axe finds a violation, or the page or a table scrolls to the side
    """
    ready_node()
    await page.evaluate((CONSOLE / "node_modules" / "axe-core" / "axe.min.js").read_text())
    for theme, options in THEMES:
        await page.emulate_media(color_scheme=theme, reduced_motion="reduce")  # type: ignore[arg-type, unused-ignore]
        for width, height in WIDTHS:
            await page.set_viewport_size({"width": width, "height": height})
            assert await page.evaluate(RUN_AXE, options) == [], f"{page.url} {theme} {width}"
            assert await page.evaluate(WIDER) == [], f"{page.url} {width} scrolls to the side"
            yield theme, width

"""What the pages of the first hour show works as they stand."""

from pathlib import Path

import pytest

from tests.docs.console import Console
from tests.docs.pages import PAGES, run_page

FIRST_HOUR = ("README", "quickstart", "executors", "web-services", "operations")
FIRST = [page for page in PAGES if page.stem in FIRST_HOUR]


@pytest.mark.parametrize("page", FIRST, ids=lambda page: page.stem)
async def test_every_block_of_the_page_works(page: Path, console: Console) -> None:
    await run_page(page, console)

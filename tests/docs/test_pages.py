"""What the other pages show works as they stand; none of them leaves out more than before."""

import re
from pathlib import Path

import pytest

from tests.docs.blocks import read_blocks
from tests.docs.console import Console
from tests.docs.pages import GIVEN, PAGES, run_page
from tests.docs.test_first_hour import FIRST

LANGUAGES = {"console", "javascript", "python", "json", "yaml", "toml", "ini", "text", "mermaid"}
NOT_RUN = {
    "CONTRIBUTING": 1,
    "README": 1,
    "api": 1,
    "benchmarks": 2,
    "events": 3,
    "executors": 5,
    "operations": 1,
    "performance": 3,
    "quickstart": 1,
    "security": 1,
    "testing": 1,
    "web-services": 2,
}
"""How many blocks of a page are not run; each has its reason in a comment above it."""


OTHERS = [page for page in PAGES if page not in FIRST and read_blocks(page)]


@pytest.mark.parametrize("page", OTHERS, ids=lambda page: page.stem)
async def test_every_block_of_the_page_works(page: Path, console: Console) -> None:
    await run_page(page, console)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_of_the_page_has_a_language_that_is_run(page: Path) -> None:
    for block in read_blocks(page):
        assert block.language in LANGUAGES, block.place


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_no_more_blocks_of_the_page_are_left_out_than_have_been(page: Path) -> None:
    left_out = [block for block in read_blocks(page) if block.not_run]
    assert len(left_out) == NOT_RUN.get(page.stem, 0), left_out


def test_pages_that_are_given_exist() -> None:
    names = {page.name for page in PAGES} | {"default.md"}
    assert {given.name for given in GIVEN.iterdir()} <= names


def test_no_command_hides_in_a_block_of_text() -> None:
    for page in PAGES:
        for block in read_blocks(page):
            if block.language == "text":
                assert not re.search(r"^(\$|kaiju-tasks) ", block.text, re.MULTILINE), block.place

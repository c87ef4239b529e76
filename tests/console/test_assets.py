"""The committed assets are what the sources build to, and small."""

import gzip
from pathlib import Path

import pytest

from kaiju_tasks.server.console import FOLDER, PAGE, SCREENS
from tests.console.build import build, check_types
from tests.console.test_screens import SHOWN, VIEWS
from tests.support.node import Node, ready_node

SCRIPT_BYTES_MAX = 60_000
STYLE_BYTES_MAX = 12_000


@pytest.fixture(scope="module")
def node() -> Node:
    return ready_node()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def packed(suffix: str) -> int:
    (path,) = FOLDER.glob(f"*{suffix}")
    return len(gzip.compress(path.read_bytes()))


def test_the_committed_assets_are_what_the_sources_build_to(node: Node, tmp_path: Path) -> None:
    build(node, tmp_path / "assets")
    assert contents(tmp_path / "assets") == contents(FOLDER), "stale: make console"


def test_the_types_of_the_sources_are_right(node: Node) -> None:
    check_types(node)


def test_the_page_loads_one_script_and_one_style_sheet_of_bounded_size() -> None:
    page = (FOLDER / PAGE).read_text()
    assert sorted(path.name in page for path in FOLDER.iterdir()) == [False, True, True]
    assert packed(".js") <= SCRIPT_BYTES_MAX
    assert packed(".css") <= STYLE_BYTES_MAX


def test_every_screen_is_opened_by_a_test() -> None:
    assert {view.partition("?")[0] for view in VIEWS} == {"", *SCREENS}
    assert VIEWS.keys() == SHOWN.keys()


def test_the_script_evaluates_no_text() -> None:
    (script,) = FOLDER.glob("*.js")
    text = script.read_text()
    assert not [word for word in ("eval(", "new Function", "document.write") if word in text]

"""How the tests come by Node and its packages."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import node as support
from tests.support.node import CONSOLE, FOLDER, Node, NodeMissing, find_node, install_packages, main
from tests.support.processes import ROOT


def refuse(reason: str) -> Callable[[], None]:
    def fetch() -> None:
        raise NodeMissing(reason)

    return fetch


@pytest.fixture
def none_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "installed_node", lambda: None)
    monkeypatch.setattr(support, "_fetch_wheel", refuse("no index"))
    monkeypatch.setattr(support, "_fetch_by_apt", refuse("no apt-get"))
    monkeypatch.setattr(support, "ready_node", support.ready_node.__wrapped__)


@pytest.mark.usefixtures("none_at_hand")
def test_without_any_node_the_sentence_says_what_to_do() -> None:
    with pytest.raises(NodeMissing, match=r"apt-get install nodejs npm.*no index; no apt-get\."):
        find_node()


@pytest.mark.usefixtures("none_at_hand")
def test_without_any_node_the_gate_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main() == 1
    assert "The tests need Node 20 or newer" in capsys.readouterr().err


@pytest.mark.parametrize(("version", "taken"), [("v18.20.2", False), ("v20.10.0", True)])
def test_a_node_that_is_too_old_is_left_alone(tmp_path: Path, version: str, taken: bool) -> None:
    program = tmp_path / "node"
    program.write_text(f"#!/bin/sh\necho {version}\n")
    program.chmod(0o755)
    assert (support._look(program, ("npm",)) is not None) is taken


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that pins packages, and has none."""
    shutil.copy(FOLDER / "package-lock.json", tmp_path)
    (tmp_path / "node_modules").mkdir()
    return tmp_path


def test_packages_that_cannot_be_had_are_a_sentence(folder: Path, node: Node) -> None:
    broken = Node(node.program, ("/bin/sh", "-c", "echo no network >&2; exit 1"), node.version)
    with pytest.raises(NodeMissing, match=r"package-lock\.json.*no network"):
        install_packages(broken, folder)


def test_packages_are_installed_once_for_a_lock_file(folder: Path, node: Node) -> None:
    counted = folder / "count"
    npm = Node(node.program, ("/bin/sh", "-c", f"echo once >> {counted}"), node.version)
    install_packages(npm, folder)
    install_packages(npm, folder)
    assert counted.read_text() == "once\n"


@pytest.mark.parametrize("where", [FOLDER, CONSOLE])
def test_a_lock_file_pins_every_package_and_names_no_place_to_fetch_from(where: Path) -> None:
    pinned = json.loads((where / "package.json").read_text())["dependencies"]
    text = (where / "package-lock.json").read_text()
    locked = json.loads(text)["packages"]
    assert {name: locked[f"node_modules/{name}"]["version"] for name in pinned} == pinned
    assert all("integrity" in one for path, one in locked.items() if path)
    assert '"resolved"' not in text


def test_the_packages_are_not_in_the_repository() -> None:
    assert "node_modules/" in (ROOT / ".gitignore").read_text().splitlines()

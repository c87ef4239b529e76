"""Python that a reader copies into a project of their own passes the linter there."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.docs.blocks import Block, read_blocks
from tests.docs.pages import PAGES
from tests.support.processes import ROOT

IGNORED = {
    "ASYNC240": "the commands of a page write small files",
    "B007": "a block shows a loop without its body",
    "B018": "a block shows expressions and their values",
    "E402": "`django.setup()` comes before imports",
}
IN_PARTS = {
    "F704": "`await` stands outside of functions",
    "F821": "names are those of the text around",
}
"""What may be wrong in a block that is no whole file."""

WITH_PYTHON = [
    page for page in PAGES if any(block.language == "python" for block in read_blocks(page))
]


def findings(blocks: list[Block], folder: Path) -> str:
    """What ruff reports of the blocks of a page, as files in a folder of their own."""
    for block in blocks:
        file = folder / (block.file or f"part_{block.line}.py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block.text)
    ours = _ruff_settings()
    own = sorted({Path(block.file).parts[0].removesuffix(".py") for block in blocks if block.file})
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "ruff", "check", "--isolated", "--output-format", "concise"),
            *("--line-length", str(ours["line-length"]), "--no-cache"),
            *("--target-version", ours["target-version"]),
            *("--select", ",".join(ours["lint"]["select"])),
            *("--ignore", ",".join([*ours["lint"]["ignore"], *IGNORED])),
            *("--config", f"lint.isort.known-first-party={json.dumps(own)}"),
            *("--per-file-ignores", ",".join(f"part_*.py:{rule}" for rule in IN_PARTS)),
            ".",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode in (0, 1), ran.stderr
    return "" if ran.returncode == 0 else ran.stdout


def _ruff_settings() -> dict[str, Any]:
    settings: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]
    return settings


@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: page.stem)
def test_the_python_of_the_page_passes_ruff(page: Path, tmp_path: Path) -> None:
    blocks = [block for block in read_blocks(page) if block.language == "python"]
    assert findings(blocks, tmp_path) == ""


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (
            "# shop.py\nfrom kaiju_tasks import Context, Executor\n\nexecutor = Executor('a')\n",
            "F401",
        ),
        ("# shop.py\nimport os, sys\n\nprint(os, sys)\n", "E401"),
        ("# shop.py\nprint(await nothing())\n", "F704"),
        ("import json\n", "F401"),
    ],
)
def test_python_that_a_linter_refuses_is_found(text: str, rule: str, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(f"```python\n{text}```\n")
    assert rule in findings(read_blocks(tmp_path / "page.md"), tmp_path / "files")

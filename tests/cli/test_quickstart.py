"""docs/quickstart.md and README.md can be followed as they stand."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kaiju_tasks.samples import executor
from kaiju_tasks.testing import running
from tests.cli.conftest import Shell
from tests.support.processes import ROOT

TEXT = (ROOT / "docs" / "quickstart.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """The working folder of somebody who follows the page."""
    executor, test, *_ = blocks("python")
    hello, order = blocks("yaml")
    files = {"shop.py": executor, "test_shop.py": test, "hello.yaml": hello, "order.yaml": order}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return Shell("http://127.0.0.1:9", tmp_path)


def test_the_pipelines_run(shell: Shell) -> None:
    assert shell.run("run", "hello.yaml").returncode == 0
    ran = shell.run("run", "order.yaml", "--executor", "shop:executor")
    assert ran.returncode == 0
    assert ran.stdout.strip() in TEXT


def test_the_tests_pass(shell: Shell) -> None:
    pytest_command = [sys.executable, "-m", "pytest", "-q", "-o", "asyncio_mode=auto"]
    ran = subprocess.run(
        [*pytest_command, "-p", "no:cacheprovider", "test_shop.py"],
        cwd=shell.folder,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "3 passed" in ran.stdout, ran.stdout


async def test_the_first_pipeline_of_the_readme_runs() -> None:
    body = re.search(r"-d '(\{.*?\})'\n```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert body is not None
    data = json.loads(body[1])["params"]["data"]
    async with running(executor) as kaiju:
        assert (await kaiju.run(data))["result"] == ["world", "Hello, world!"]


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []

"""The terminal that a page is followed in."""

from pathlib import Path

import pytest

from tests.docs.console import DATABASE, Console
from tests.docs.pages import runs
from tests.support.processes import Processes


@pytest.fixture
def console(
    request: pytest.FixtureRequest, page: Path, tmp_path: Path, processes: Processes
) -> Console:
    text = "".join(block.text for block in runs(page) if not block.not_run)
    dsn = request.getfixturevalue("postgres_dsn") if DATABASE.search(text) else None
    return Console(tmp_path, processes, dsn)

"""Fleets on either store."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.processes import Processes
from tests.system.fleet import Fleet


@pytest.fixture
async def fleet(processes: Processes, store_url: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    """Managers and executors on each kind of store; on SQLite one manager."""
    made = Fleet(processes, store_url, tmp_path)
    yield made
    await made.close()


@pytest.fixture
async def team(processes: Processes, postgres_dsn: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    """Any number of managers and executors on PostgreSQL."""
    made = Fleet(processes, postgres_dsn, tmp_path)
    yield made
    await made.close()

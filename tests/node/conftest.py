"""Node, and a manager that its clients call."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.support.node import Node, ready_node
from tests.support.processes import Processes

READY = r"^kaiju-tasks \S+ at http://127\.0\.0\.1:(\d+) "


@pytest.fixture(scope="session")
def node() -> Node:
    return ready_node()


@pytest.fixture(scope="module")
def manager_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A manager process with the sample executor."""
    processes = Processes(tmp_path_factory.mktemp("manager"))
    try:
        manager = processes.kaiju(
            "serve", "--port", "0", "--executor", "kaiju_tasks.samples:executor"
        )
        yield int(asyncio.run(manager.logged(READY))[1])
    finally:
        processes.close()

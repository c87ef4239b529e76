"""The processes of executors on the manager's own machine."""

import socket
import subprocess
from collections.abc import Iterator

import pytest

from kaiju_tasks.manager.executors.processes import has_ended_soon, local_process

HOST = socket.gethostname()


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process
        process.kill()


async def test_a_killed_process_has_ended_although_nobody_has_waited_for_it(
    sleeper: subprocess.Popen[bytes],
) -> None:
    process = local_process(HOST, sleeper.pid)
    assert process is not None
    assert not process.has_ended()
    sleeper.kill()
    assert await has_ended_soon(process)
    sleeper.wait()
    assert process.has_ended()


def test_another_process_with_the_same_id_is_not_the_same(
    sleeper: subprocess.Popen[bytes],
) -> None:
    process = local_process(HOST, sleeper.pid)
    assert process is not None
    process._started = "1"
    assert process.has_ended()


def test_a_process_of_another_machine_is_not_known(sleeper: subprocess.Popen[bytes]) -> None:
    assert local_process("elsewhere", sleeper.pid) is None
    assert local_process(None, sleeper.pid) is None
    assert local_process(HOST, None) is None


def test_a_process_that_cannot_be_seen_is_not_known(sleeper: subprocess.Popen[bytes]) -> None:
    sleeper.kill()
    sleeper.wait()
    assert local_process(HOST, sleeper.pid) is None

"""The CPU time and the memory of processes, read from the system."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from kaiju_tasks.bench.cpu import Meter, cpu_seconds, is_named, resident_bytes

BUSY = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\ninput()"


@pytest.fixture
def busy() -> Iterator[int]:
    """A process that has used 0.3 seconds of CPU time, and then does nothing."""
    command = [sys.executable, "-c", BUSY]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.kill()


def test_a_process_that_starts_while_a_meter_runs_is_counted_whole(busy: int) -> None:
    before, later = Meter({"manager": [busy]}), Meter({"manager": []})
    for meter in (before, later):
        meter.stop({"manager": [busy], "database": []})
    assert before.used["manager"] < 0.1
    assert 0.25 < later.used["manager"] < 30
    assert set(later.used) == {"manager"}


def test_a_process_that_has_ended_has_no_figures() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert cpu_seconds(process.pid) is None
    assert resident_bytes(process.pid) is None
    assert not is_named(process.pid, "postgres")


def test_the_memory_of_this_process_is_read() -> None:
    assert 10 * 2**20 < (resident_bytes(os.getpid()) or 0) < 4 * 2**30

"""The kit runs several cases at a time."""

import sys
from pathlib import Path

import pytest

from kaiju_tasks.conformance import Outcome, check_executor
from kaiju_tasks.conformance.cases import CASES
from tests.conformance.wrong import naive

NAMES = ["connects-first", "reports-with-the-whole-token", "an-unknown-method-fails-its-stage"]

# Starts the rest of its arguments when as many of it as there are names have begun.
TOGETHER = f"""
import os, pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
(folder / str(os.getpid())).touch()
while len(list(folder.iterdir())) < {len(NAMES)}:
    time.sleep(0.05)
os.execv(sys.argv[2], sys.argv[2:])
"""


async def test_outcomes_come_in_the_order_of_the_cases() -> None:
    seen: list[Outcome] = []
    report = await check_executor(
        naive("none"), seconds=60, only=NAMES, jobs=3, on_outcome=seen.append
    )
    assert [(one.name, one.problem) for one in seen] == [
        (case.name, None) for case in CASES if case.name in NAMES
    ]
    assert report.outcomes == seen


async def test_a_fault_is_noticed_beside_other_cases() -> None:
    report = await check_executor(naive("nonce"), seconds=60, only=NAMES, jobs=3)
    assert [one.name for one in report.outcomes if one.problem is not None] == [NAMES[1]]


@pytest.mark.parametrize("jobs", [1, 3])
async def test_a_command_that_cannot_be_started_ends_all(jobs: int) -> None:
    with pytest.raises(FileNotFoundError):
        await check_executor(["/no/such/program"], only=NAMES, jobs=jobs)


async def test_the_cases_run_at_the_same_time(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TOGETHER, str(tmp_path), *naive("none")]
    report = await check_executor(command, seconds=60, only=NAMES, jobs=len(NAMES))
    assert [one.problem for one in report.outcomes] == [None] * len(NAMES)

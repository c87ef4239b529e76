"""Several managers and executors, an unkind network, a database that fails: see docs/testing.md."""

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kaiju_tasks.manager.executors import frames, room
from tests.simulation.invariants import Invariant
from tests.simulation.world import Outcome, simulate

SEEDS = 120
NARROW_SEEDS = 10
QUIET_SEEDS = 10
FILLED_SEEDS = 25
SEEDS_PER_TEST = 10


@functools.cache
def lived_through(seed: int) -> Outcome:
    """What came of a seed, for all tests that ask."""
    return simulate(seed)


@pytest.mark.parametrize("first", range(0, SEEDS, SEEDS_PER_TEST))
def test_every_invariant_holds_whatever_fails(first: int) -> None:
    for seed in range(first, first + SEEDS_PER_TEST):
        outcome = lived_through(seed)
        assert not outcome.violations, outcome.report


def test_every_invariant_holds_when_nothing_fails() -> None:
    for seed in range(QUIET_SEEDS):
        outcome = simulate(seed, quiet=True)
        assert not outcome.violations, outcome.report


def test_every_invariant_holds_when_sockets_take_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "UNTAKEN_BYTES", 2_000)
    monkeypatch.setattr(frames, "FRAME_BYTES", 1_000)
    for seed in range(NARROW_SEEDS):
        outcome = simulate(seed, faults={"narrow": 5_000.0})
        assert not outcome.violations, outcome.report


def test_every_invariant_holds_when_managers_fill(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "FRAME_BYTES", 200)
    seen: set[str] = set()
    for seed in range(FILLED_SEEDS):
        outcome = simulate(seed, filled=0.7)
        assert not outcome.violations, outcome.report
        seen |= outcome.stats.keys()
    assert "ack again" in seen


def test_the_simulation_comes_to_every_place_that_it_is_about() -> None:
    seen: set[str] = set()
    for seed in range(25):
        seen |= lived_through(seed).stats.keys()
    assert seen >= {
        "ack ok",
        "ack released",
        "ack stale_lease",
        "children CANCELLED",
        "children FAILED",
        "children FINISHED",
        "claim",
        "event of another manager",
        "event",
        "expelled",
        "message buffered",
        "message delivered",
        "message duplicate",
        "message rejected",
        "next task",
        "rescued",
        "run CANCELLED",
        "run FAILED",
        "run FINISHED",
        "run MISSED",
        "step",
        "waits for a method",
        "waits for a pause",
        "waits for a slot",
    }


def test_every_invariant_is_looked_at() -> None:
    folder = Path(__file__).parent
    files = [path for path in folder.glob("*.py") if not path.name.startswith("test_")]
    source = "\n".join(path.read_text() for path in files)
    assert [one.name for one in Invariant if f"Invariant.{one.name}," not in source] == []


def test_a_seed_is_the_same_world_in_every_process() -> None:
    assert digests("1") == digests("2")


def digests(hash_seed: str) -> str:
    command = [sys.executable, "-m", "tests.simulation", "--seeds", "40-43", "--digests"]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, timeout=120
    ).stdout


def test_a_fault_of_the_world_itself_is_no_quiet_world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.simulation.database.CALLS", ["no such method of a store"])
    violation, *_ = simulate(0).violations
    assert violation.invariant is Invariant.NO_EXCEPTION_UNSEEN
    assert "no such method" in violation.text

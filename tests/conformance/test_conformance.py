"""The kit passes the library's executor, and notices what others do wrong."""

import sys

import pytest

from kaiju_tasks.conformance import Outcome, Report, check_executor
from kaiju_tasks.conformance.cases import CASES
from kaiju_tasks.conformance.report import Level
from tests.conformance.wrong import naive
from tests.support.node import FETCHER, find_node
from tests.support.processes import ROOT

SAMPLES = [sys.executable, "-m", "kaiju_tasks.cli", "executor", "kaiju_tasks.samples:executor"]


@pytest.fixture(autouse=True)
def checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.mark.slow
async def test_the_library_reaches_the_highest_level() -> None:
    report = await check_executor(SAMPLES, seconds=30)
    problems = {one.name: one.problem for one in report.outcomes if one.problem is not None}
    assert problems == {}
    assert (report.reached, report.fill) == (Level.FULL, False)
    assert len(report.outcomes) == sum(not case.fill for case in CASES)


@pytest.mark.slow
async def test_the_executor_for_node_reaches_the_highest_level() -> None:
    with FETCHER.alone():
        node = find_node()
    program = ROOT / "examples" / "executors" / "node" / "executor.mjs"
    report = await check_executor([*node.with_websocket, str(program)], seconds=30)
    problems = {one.name: one.problem for one in report.outcomes if one.problem is not None}
    assert problems == {}
    assert (report.reached, report.fill) == (Level.FULL, True)
    assert len(report.outcomes) == len(CASES)


@pytest.mark.slow
async def test_the_minimal_executor_reaches_core() -> None:
    program = ROOT / "examples" / "executors" / "minimal" / "executor.py"
    names = [case.name for case in CASES if case.level is Level.CORE]
    report = await check_executor([sys.executable, str(program)], seconds=30, only=names)
    problems = {one.name: one.problem for one in report.outcomes if one.problem is not None}
    assert problems == {}
    assert (report.reached, report.fill) == (Level.CORE, True)


@pytest.mark.parametrize(
    ("fault", "case", "said"),
    [
        ("none", "reports-with-the-whole-token", None),
        ("nonce", "reports-with-the-whole-token", "the token of the report is"),
        ("none", "an-unknown-method-fails-its-stage", None),
        ("types", "an-unknown-method-fails-its-stage", "instead of 'unknown_method'"),
        ("hasty", "waits-for-the-acknowledgement", "begun the second stage before"),
        ("none", "pings-and-names-what-it-holds", "has not sent two pings within 8 seconds"),
        ("none", "a-lost-acknowledgement-is-asked-for-again", "has not reported the end"),
        ("none", "every-template-is-filled-as-in-the-vectors", "vectors deviate"),
        ("none", "it-leaves-in-good-order", "has not"),
    ],
)
async def test_a_fault_is_noticed(fault: str, case: str, said: str | None) -> None:
    seconds = 30 if said is None or "vectors" in said else 8
    report = await check_executor(naive(fault), seconds=seconds, only=[case])
    (outcome,) = report.outcomes
    if said is None:
        assert outcome.problem is None
    else:
        assert said in (outcome.problem or "")


async def test_a_program_that_ends_at_once_passes_nothing() -> None:
    names = ["connects-first"]
    report = await check_executor([sys.executable, "-c", ""], seconds=1, only=names)
    assert report.outcomes[0].problem == "it has not connected within 1 seconds"
    assert report.reached is None


def test_a_level_needs_all_cases_of_the_levels_before_it() -> None:
    def report(*problems: str | None) -> Report:
        outcomes = [
            Outcome(level, level, "rule", problem, 0.0)
            for level, problem in zip(Level, problems, strict=True)
        ]
        return Report(outcomes)

    assert report(None, None, None).reached is Level.FULL
    assert report(None, None, "x").reached is Level.TEMPLATES
    assert report(None, "x", None).reached is Level.CORE
    assert report("x", None, None).reached is None

"""The kit notices what executors do wrong."""

import sys

import pytest

from kaiju_tasks.conformance import Outcome, Report, check_executor
from kaiju_tasks.conformance.cases.case import Under, cases
from kaiju_tasks.conformance.peer import Doubtful
from kaiju_tasks.conformance.report import Level
from tests.conformance.wrong import naive


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


@pytest.mark.parametrize(("doubts", "problem"), [(0, None), (2, None), (3, "it was released")])
async def test_what_a_standstill_would_also_show_is_a_problem_the_third_time(
    monkeypatch: pytest.MonkeyPatch, doubts: int, problem: str | None
) -> None:
    processes = []

    async def begins(under: Under) -> None:
        """It begins what it holds."""
        processes.append(under.process.pid)
        if len(processes) <= doubts:
            raise Doubtful("it was released")

    monkeypatch.setattr("kaiju_tasks.conformance.run.CASES", cases(Level.CORE, begins))
    report = await check_executor([sys.executable, "-c", "import time; time.sleep(60)"])
    assert [one.problem for one in report.outcomes] == [problem]
    assert len(set(processes)) == min(doubts + 1, 3)

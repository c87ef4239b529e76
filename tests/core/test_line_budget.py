"""How many lines are logged about what happens thousands of times a second."""

import logging

import pytest

from kaiju_tasks import line_budget
from kaiju_tasks.line_budget import GRAVE_LINES, LINES, LineBudget

log = logging.getLogger("kaiju_tasks.test_line_budget")


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    at = [100.0]
    monkeypatch.setattr(line_budget, "steady_seconds", lambda: at[0])
    return at


def admitted(budget: LineBudget, level: int, lines: int) -> int:
    return sum(budget.admits(level) for _ in range(lines))


def test_a_second_has_a_limit_and_the_next_one_says_what_was_left_out(
    now: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, log.name)
    budget = LineBudget(log)
    assert admitted(budget, logging.INFO, 1000) == LINES
    assert caplog.messages == []
    now[0] += 1
    assert admitted(budget, logging.INFO, 1) == 1
    left_out = 1000 - LINES
    assert caplog.messages == [
        f"{left_out} more lines like these were left out; level debug logs all of them"
    ]
    now[0] += 1
    assert admitted(budget, logging.INFO, LINES) == LINES
    assert len(caplog.messages) == 1


def test_lines_that_are_not_offered_once_the_budget_is_spent_are_counted_too(
    now: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, log.name)
    budget = LineBudget(log)
    assert not budget.is_spent()
    admitted(budget, logging.INFO, LINES + 1)
    assert budget.is_spent()
    budget.leave_out(10)
    now[0] += 1
    assert not budget.is_spent()
    assert admitted(budget, logging.INFO, 1) == 1
    assert "11 more lines like these" in caplog.text
    caplog.set_level(logging.DEBUG, log.name)
    admitted(budget, logging.INFO, 2 * LINES)
    assert not budget.is_spent()
    caplog.set_level(logging.WARNING, log.name)
    assert budget.is_spent()


def test_warnings_have_a_limit_of_their_own(
    now: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, log.name)
    budget = LineBudget(log)
    assert admitted(budget, logging.INFO, 1000) == LINES
    assert admitted(budget, logging.WARNING, 50) == 50
    assert admitted(budget, logging.ERROR, 1000) == GRAVE_LINES - 50


def test_debug_has_no_limit(now: list[float], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, log.name)
    assert admitted(LineBudget(log), logging.INFO, 1000) == 1000


def test_a_level_that_is_not_logged_costs_no_budget(
    now: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, log.name)
    budget = LineBudget(log)
    assert admitted(budget, logging.INFO, 1000) == 0
    assert admitted(budget, logging.WARNING, 1000) == GRAVE_LINES

"""What stands on a terminal while a pipeline runs."""

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiju_tasks.cli.progress import _ended_line, _window


def task(stages: int, stage: int, status: str = "EXECUTED") -> dict[str, Any]:
    commands = [{"method": f"m.{i}"} for i in range(stages)]
    return {"commands": commands, "stage": stage, "stages": stages, "status": status}


@given(st.integers(1, 100), st.integers(0, 99), st.integers(1, 60))
def test_the_running_stage_is_among_those_that_fit(stages: int, stage: int, room: int) -> None:
    stage = min(stage, stages - 1)
    shown = [index for index, _ in _window(task(stages, stage), room)]
    assert stage in shown
    assert len(shown) == min(stages, room)
    assert shown == list(range(shown[0], shown[0] + len(shown)))


def test_all_stages_stand_there_in_the_end() -> None:
    assert len(_window(task(50, 50, "FINISHED"), 10)) == 50


def test_an_error_message_cannot_steer_the_terminal() -> None:
    record = {
        "stage": 0,
        "name": None,
        "method": "m.0",
        "outcome": "FAILED",
        "attempt": 1,
        "started_at": None,
        "ended_at": None,
        "error": {"type": "t", "message": "a\x1b[2Jb\nc"},
    }
    assert _ended_line(task(1, 0), record) == "[1/1] m.0: failed: t: a [2Jb c"


def test_a_typed_line_leaves_no_second_table(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    from kaiju_tasks.cli import progress

    screen = io.StringIO()
    live = progress._Live()
    monkeypatch.setattr(live._live, "console", Console(file=screen, force_terminal=True))
    live.typed()
    assert screen.getvalue() == "\x1b[1A"

"""docs/lifecycle.md is drawn from the table, and explains every word."""

import subprocess
import sys

import pytest

from kaiju_tasks.lifecycle.draw import PAGE, drawn, main
from kaiju_tasks.types import ErrorType, Reason, TaskStatus


def test_the_page_is_current() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert drawn(page) == page, "run: python -m kaiju_tasks.lifecycle.draw --write"
    assert main([]) == 0


@pytest.mark.parametrize("word", [*TaskStatus, *Reason, *ErrorType])
def test_the_page_explains_every_word(word: str) -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    assert any(line.startswith("| ") and f"`{word}`" in line.split("|")[1] for line in lines)


def test_a_page_without_a_place_for_a_drawing_is_refused() -> None:
    with pytest.raises(ValueError, match="diagram"):
        drawn("nothing")


def test_it_is_a_command() -> None:
    done = subprocess.run([sys.executable, "-m", "kaiju_tasks.lifecycle.draw"], cwd=PAGE.parents[1])
    assert done.returncode == 0

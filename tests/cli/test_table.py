"""The layout of tables: what has room, and what gives way."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiju_tasks.cli.audit import AUDIT
from kaiju_tasks.cli.cron import UPCOMING
from kaiju_tasks.cli.database import MIGRATIONS
from kaiju_tasks.cli.executors import COMMANDS, EXECUTORS
from kaiju_tasks.cli.listing import Listing
from kaiju_tasks.cli.mark import MARKS
from kaiju_tasks.cli.notifications import NOTIFICATIONS
from kaiju_tasks.cli.pauses import PAUSES
from kaiju_tasks.cli.runs import RUNS as ALL_RUNS
from kaiju_tasks.cli.stream_list import STREAMS
from kaiju_tasks.cli.table import Column, table_lines
from kaiju_tasks.cli.task_lists import COMMANDS as STAGES_OF_A_TASK
from kaiju_tasks.cli.task_lists import FAILED, FAMILY, INBOX, RUNS, STAGES, TASKS
from kaiju_tasks.cli.text import cut, cut_middle, one_line, width
from tests.cli.unicode import any_text

LISTINGS = {
    "tasks": TASKS,
    "failed tasks": FAILED,
    "messages": INBOX,
    "families": FAMILY,
    "runs": RUNS,
    "stages": STAGES,
    "commands of a task": STAGES_OF_A_TASK,
    "executors": EXECUTORS,
    "commands": COMMANDS,
    "runs of all tasks": ALL_RUNS,
    "streams": STREAMS,
    "fires": UPCOMING,
    "marks": MARKS,
    "notifications": NOTIFICATIONS,
    "pauses": PAUSES,
    "audit": AUDIT,
    "migrations": MIGRATIONS,
}
NAMES = ("id", "status", "error", "exit_code", "description")


def _columns(cells: dict[str, list[str]]) -> list[Column]:
    """Columns as lists of tasks have them."""
    kinds: dict[str, dict[str, Any]] = {
        "id": {"shortens": cut_middle, "least": 12},
        "exit_code": {"right": True},
        "error": {"shortens": cut, "least": 24},
        "description": {"shortens": cut, "least": 16},
    }
    return [Column(name, texts, **kinds.get(name, {})) for name, texts in cells.items()]


def _shown(line: str) -> list[str]:
    """The columns that a table's first line names."""
    return [name for name in NAMES if name.upper() in line.split()]


TASK = {
    "id": ["invoice-2026-11-26-customer-acme-00017"],
    "description": ["Send the invoice to the customer, by post and by mail"],
    "exit_code": ["1"],
    "error": ["the printer of the accounting department has no paper left in tray two"],
    "status": ["SUSPENDED"],
}


@pytest.mark.parametrize(
    ("limit", "shown"),
    [
        (None, ["id", "status", "error", "exit_code", "description"]),
        (200, ["id", "status", "error", "exit_code", "description"]),
        (80, ["id", "status", "error", "exit_code", "description"]),
        (70, ["id", "status", "error", "exit_code"]),
        (60, ["id", "status", "error", "exit_code"]),
        (52, ["id", "status", "error", "exit_code"]),
        (40, ["id", "status", "error", "exit_code"]),
        (30, ["id", "status", "error"]),
        (18, ["id", "status"]),
        (10, ["id"]),
    ],
)
def test_what_matters_is_left_out_last(limit: int | None, shown: list[str]) -> None:
    head, row = table_lines(_columns(TASK), limit, NAMES)
    assert _shown(head) == shown
    assert max(width(head), width(row)) <= (limit or 1000)


def test_one_long_id_takes_no_room_from_the_status_of_other_rows() -> None:
    cells = {"id": ["a", "b" * 255], "status": ["FAILED", "IDLE"], "error": ["no", ""]}
    _, first, second = table_lines(_columns(cells), 80, NAMES)
    assert first.split() == ["a", "FAILED", "no"]
    assert second.split()[1] == "IDLE"
    assert second.split()[0].startswith("bbb")
    assert "…" in second.split()[0]


def test_columns_share_the_room_and_short_ones_take_no_more_than_they_need() -> None:
    cells = {"id": ["i" * 100], "status": ["IDLE"], "error": ["e" * 30], "description": ["d" * 99]}
    _, row = table_lines(_columns(cells), 106, NAMES)
    # 106 cells without three gaps and the status are 94 for three columns
    assert [len(part) for part in row.split()] == [32, len("IDLE"), 30, 32]


def test_without_a_terminal_nothing_is_cut() -> None:
    _, row = table_lines(_columns(TASK), None, NAMES)
    assert all(texts[0] in row for texts in TASK.values())


def test_numbers_stand_under_each_other() -> None:
    lines = table_lines(_columns({"id": ["a", "b"], "exit_code": ["1", "130"]}), 80, NAMES)
    assert lines == ["ID  EXIT_CODE", "a           1", "b         130"]


@pytest.mark.parametrize("limit", [80, 60, 45, 25])
def test_columns_that_were_asked_for_are_shortened_rather_than_left_out(limit: int) -> None:
    head, row = table_lines(_columns(TASK), limit, list(TASK), asked=True)
    assert len(head.split()) == len(TASK)
    assert max(width(head), width(row)) <= limit


_cells = st.lists(st.fixed_dictionaries(dict.fromkeys(NAMES, any_text.map(one_line))), max_size=5)


@given(_cells, st.permutations(NAMES), st.integers(1, 200), st.booleans())
def test_whatever_stands_in_a_table_its_rows_fit_and_its_columns_are_straight(
    rows: list[dict[str, str]], important: list[str], limit: int, asked: bool
) -> None:
    columns = _columns({name: [row[name] for row in rows] for name in NAMES})
    lines = table_lines(columns, limit, important, asked=asked)
    assert len(lines) == len(rows) + 1
    assert all(width(line) <= limit for line in lines)
    whole = table_lines([*columns, Column("end", ["|"] * len(rows))], None, (*important, "end"))
    assert len({width(line[:-1]) for line in whole[1:]}) <= 1


@given(_cells, st.permutations(NAMES), st.integers(12, 200))
def test_a_column_is_left_out_only_after_all_that_matter_less(
    rows: list[dict[str, str]], important: list[str], limit: int
) -> None:
    columns = _columns({name: [row[name] for row in rows] for name in NAMES})
    head = table_lines(columns, limit, important)[0]
    shown = [name for name in important if _is_headed(name, head)]
    assert shown == important[: len(shown)]


def _is_headed(name: str, head: str) -> bool:
    """A single column that is left may have a shortened head."""
    words = head.split()
    return name.upper() in words or (len(words) == 1 and words[0][:2] == name.upper()[:2])


@pytest.mark.parametrize("listing", LISTINGS.values(), ids=LISTINGS.keys())
def test_every_column_of_a_list_has_its_place_among_the_important_ones(listing: Listing) -> None:
    assert sorted(listing.columns) == sorted(listing.important)
    assert set(listing.columns) <= set(listing.known())

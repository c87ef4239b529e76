"""The tables of `kaiju-tasks bench`."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from kaiju_tasks.bench.compare import RULE, Change, Verdict
from kaiju_tasks.bench.parts import PARTS, position
from kaiju_tasks.bench.rows import Row
from kaiju_tasks.bench.saved import Run
from kaiju_tasks.cli.table import Column, table_lines

__all__ = ["as_data", "changes", "figures"]

LIMIT = ": limit"


def as_data(run: Run, compared: Sequence[Change] | None) -> dict[str, Any]:
    """Return a run and its changes as data for JSON."""
    data: dict[str, Any] = msgspec.to_builtins(run)
    data["rows"] = [
        {**msgspec.to_builtins(row), "median": row.median, "least": row.least, "most": row.most}
        for row in run.rows
    ]
    if compared is not None:
        data["changes"] = [
            {
                "part": one.after.part,
                "what": one.after.what,
                "unit": one.after.unit,
                "at": one.after.at,
                "before": one.before.median,
                "after": one.after.median,
                "ratio": one.ratio,
                "verdict": one.verdict.value,
            }
            for one in compared
        ]
    return data


def figures(rows: Sequence[Row]) -> Iterator[str]:
    """Return the lines of a table for each part, with the positions of its axis as columns."""
    for part in dict.fromkeys(row.part for row in rows):
        about = PARTS[part].about
        yield f"{about[0].upper()}{about[1:]}"
        yield from _pivoted(part, [row for row in rows if row.part == part])
        yield ""
    yield (
        "The figures are medians of the rounds. SPREAD is the widest of a line: the greatest round "
        "less the least one, divided by the median."
    )


def changes(compared: Sequence[Change]) -> Iterator[str]:
    """Return the lines of a table of two runs with a verdict for each row, and the rule."""
    rows = [one.after for one in compared]
    places = ["" if row.at is None else position(row.part, row.at) for row in rows]
    yield from _table(
        Column("part", [row.part for row in rows]),
        Column("what", [row.what for row in rows]),
        Column("at", places, right=True),
        Column("before", [_number(one.before.median) for one in compared], right=True),
        Column("rounds before", [_rounds(one.before) for one in compared], right=True),
        Column("after", [_number(row.median) for row in rows], right=True),
        Column("rounds after", [_rounds(row) for row in rows], right=True),
        Column("unit", [row.unit for row in rows]),
        Column("ratio", [f"{one.ratio:.2f}" for one in compared], right=True),
        Column("verdict", [one.verdict.value for one in compared]),
    )
    yield ""
    yield RULE
    moved = (Verdict.BETTER, Verdict.WORSE)
    if any(one.after.what.endswith(LIMIT) and one.verdict in moved for one in compared):
        yield (
            "The limit of the database has changed too: the machine or the database differs. "
            "Compare only the rows `of the limit`."
        )


def _pivoted(part: str, rows: Sequence[Row]) -> list[str]:
    lines: dict[tuple[str, str], dict[int | None, Row]] = {}
    for row in rows:
        lines.setdefault((row.what, row.unit), {})[row.at] = row
    places = list(dict.fromkeys(row.at for row in rows))
    found = list(lines.values())
    return _table(
        Column("what", [what for what, _ in lines]),
        Column("unit", [unit for _, unit in lines]),
        *(
            Column(
                "median" if at is None else position(part, at),
                [_number(line[at].median) if at in line else "" for line in found],
                right=True,
            )
            for at in places
        ),
        Column("spread", [f"{max(map(_spread, line.values())):.0%}" for line in found], right=True),
    )


def _spread(row: Row) -> float:
    return (row.most - row.least) / row.median if row.median else 0.0


def _table(*columns: Column) -> list[str]:
    return table_lines(columns, None, [column.name for column in columns])


def _rounds(row: Row) -> str:
    return f"{_number(row.least)} to {_number(row.most)}"


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"

"""Generates parts of docs/lifecycle.md from the transition table.

`python -m kaiju_tasks.lifecycle.draw --write` updates the page. Without `--write` nothing is
written, and the exit code is 1 if the page is out of date.
"""

import re
import sys
from collections import defaultdict
from pathlib import Path

from kaiju_tasks.lifecycle.events import EVENTS, Event
from kaiju_tasks.lifecycle.table import OPERATOR_CALLS, TABLE
from kaiju_tasks.types import TaskStatus

PAGE = Path(__file__).parents[2] / "docs" / "lifecycle.md"
REFUSED = "409"
NOTHING = "\N{EN DASH}"


def diagram() -> str:
    """A mermaid state diagram: the status changes, with the events that cause them."""
    moves: dict[tuple[TaskStatus, TaskStatus], list[str]] = defaultdict(list)
    for event in EVENTS:
        for status, rule in TABLE[event].items():
            for target in rule.targets - {status}:
                if event not in OPERATOR_CALLS:
                    moves[status, target].append(event.__name__)
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> IDLE", "    [*] --> QUEUED"]
    for source in TaskStatus:
        for target in TaskStatus:
            names = moves.get((source, target))
            if names:
                lines.append(f"    {source} --> {target}: {', '.join(names)}")
    return "\n".join([*lines, "```"])


def table() -> str:
    """A table of the possible target statuses, by event and status."""
    lines = [
        "| event | " + " | ".join(TaskStatus) + " |",
        "| --- |" + " --- |" * len(TaskStatus),
    ]
    for event in EVENTS:
        cells = [_cell(event, status) for status in TaskStatus]
        lines.append(f"| `{event.__name__}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(event: type[Event], status: TaskStatus) -> str:
    rule = TABLE[event].get(status)
    if rule is None:
        return REFUSED if event in OPERATOR_CALLS else NOTHING
    if rule.targets == {status}:
        return "same"
    return " ".join(str(target) for target in TaskStatus if target in rule.targets)


def events() -> str:
    """A list of the events with the first lines of their docstrings."""
    return "\n".join(f"- `{e.__name__}`: {(e.__doc__ or '').splitlines()[0]}" for e in EVENTS)


DRAWINGS = {"diagram": diagram, "table": table, "events": events}


def drawn(page: str) -> str:
    """The page with its generated parts updated."""
    for name, draw in DRAWINGS.items():
        block = re.compile(rf"(<!-- drawn: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        page, count = block.subn(lambda m, d=draw: f"{m[1]}{d()}\n{m[2]}", page)  # type: ignore[misc]
        if count != 1:
            raise ValueError(f"docs/lifecycle.md has {count} places for {name}, not one")
    return page


def main(arguments: list[str]) -> int:
    page = PAGE.read_text(encoding="utf-8")
    current = drawn(page)
    if "--write" in arguments:
        PAGE.write_text(current, encoding="utf-8")
    return 0 if current == page or "--write" in arguments else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

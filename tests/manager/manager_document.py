"""The modules of a manager in docs/architecture.md: `python -m tests.manager.manager_document`."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "architecture.md"
MANAGER = ROOT / "kaiju_tasks" / "manager"
BEGIN = "<!-- modules: generated, see tests/manager/manager_document.py -->"
END = "<!-- /modules -->"


def render() -> str:
    """A table of the modules and the first lines of their docstrings."""
    return "\n".join(["| module | purpose |", "| --- | --- |", *_rows(MANAGER)])


def committed() -> str:
    """The table in the page."""
    return PAGE.read_text("utf-8").partition(BEGIN)[2].partition(END)[0].strip()


def write() -> None:
    """Update the table in the page."""
    head, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}\n\n{render()}\n\n{END}{rest.partition(END)[2]}", "utf-8")


def _rows(folder: Path) -> Iterator[str]:
    """The modules of a package, then each package in it with its modules."""
    for module in sorted(folder.glob("[!_]*.py")):
        yield f"| `{module.relative_to(MANAGER)}` | {_purpose(module)} |"
    for package in sorted(path.parent for path in folder.glob("*/__init__.py")):
        yield f"| **`{package.relative_to(MANAGER)}/`** | {_purpose(package / '__init__.py')} |"
        yield from _rows(package)


def _purpose(module: Path) -> str:
    return (ast.get_docstring(ast.parse(module.read_text("utf-8"))) or "").partition("\n")[0]


if __name__ == "__main__":
    write()

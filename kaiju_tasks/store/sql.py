"""Loads named statements from `.sql` files.

A statement begins with `-- name: lock` and a description. `-- fragment: task_columns` begins a
text that later statements include as `{task_columns}`.
"""

import re
from collections.abc import Iterator
from importlib.resources import files

_BLOCK = re.compile(r"^-- (name|fragment): (\w+)\n((?:--.*\n)*)", re.MULTILINE)


class Statements:
    """The statements of one file, by name.

    :ivar about: the description of each statement, by name
    """

    def __init__(self, text: str) -> None:
        self.about: dict[str, str] = {}
        self._sql: dict[str, str] = {}
        fragments: dict[str, str] = {}
        found = list(_BLOCK.finditer(text))
        ends = [match.start() for match in found[1:]] + [len(text)]
        for match, end in zip(found, ends, strict=True):
            kind, name, about = match.groups()
            body = text[match.end() : end].strip().rstrip(";")
            if name in self._sql or name in fragments:
                raise ValueError(f"{name} is defined twice")
            if kind == "fragment":
                fragments[name] = body
                continue
            self.about[name] = " ".join(line.lstrip("- ") for line in about.splitlines())
            self._sql[name] = _include(body, fragments)

    def __getitem__(self, name: str) -> str:
        return self._sql[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._sql)


def _include(body: str, fragments: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: fragments[match[1]], body)


def load_statements(package: str) -> Statements:
    """Read `queries.sql` of a package.

    :raises ValueError: a name is defined twice
    :raises KeyError: a statement includes a fragment that is not defined before it
    """
    return Statements(files(package).joinpath("queries.sql").read_text("utf-8"))

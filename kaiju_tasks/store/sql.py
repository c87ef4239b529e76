"""Loads named statements from `.sql` files.

A statement begins with `-- name: lock` and a description. `-- fragment: clock` begins a text that
later statements include as `{clock}`. `-- columns: runs` begins a list of columns and their types,
which later statements include in one of these forms:

    {runs.names}    run_id, task_id, …
    {runs.of r}     r.run_id, r.task_id, …
    {runs.set v}    task_id = v.task_id, …      without the first, which is the key
    {runs.numbered} task_id = ?2, …             the same; the key is parameter 1
    {runs.arrays}   $1::text::text[], …         parameters, numbered through the statement
    {runs.rows}     SELECT * FROM unnest(…)     a table of any number of rows, given as arrays

A column of type `wide` is a text that can be large. `Statements.wide` is a statement that takes the
arrays of such columns as they are, and not as array literals in a text.

`Statements.few` is a statement with `VALUES ($1::text, …), …` in place of `{runs.rows}`: for one
row, it takes half the time of arrays.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any

_BLOCK = re.compile(r"^-- (name|fragment|columns): (\w+)\n((?:--.*\n)*)", re.MULTILINE)
WIDE = "wide"
_INCLUDED = re.compile(r"\{(\w+)(?:\.(\w+)(?: (\w+))?)?\}")


class Statements:
    """The statements of one file, by name.

    :ivar about: the description of each statement, by name
    :ivar columns: the column names of each list, by name
    :ivar wide_columns: the indexes of the wide columns of each list, by name
    :ivar fragments: the texts that statements include, by name
    """

    def __init__(self, text: str) -> None:
        self.about: dict[str, str] = {}
        self.columns: dict[str, tuple[str, ...]] = {}
        self.wide_columns: dict[str, tuple[int, ...]] = {}
        self._types: dict[str, tuple[str, ...]] = {}
        self.fragments: dict[str, str] = {}
        self._sql: dict[str, str] = {}
        self._arrays: dict[str, list[str]] = {}
        self._bodies: dict[str, str] = {}
        self._few: dict[tuple[str, int], str] = {}
        self._wide: dict[str, str] = {}
        found = list(_BLOCK.finditer(text))
        ends = [match.start() for match in found[1:]] + [len(text)]
        for match, end in zip(found, ends, strict=True):
            kind, name, about = match.groups()
            self._add(kind, name, about, text[match.end() : end].strip().rstrip(";"))

    def _add(self, kind: str, name: str, about: str, body: str) -> None:
        taken = self._sql if kind == "name" else self.fragments.keys() | self.columns.keys()
        if name in taken:
            raise ValueError(f"{name} is defined twice")
        if kind == "fragment":
            self.fragments[name] = body
        elif kind == "columns":
            columns = [column.split() for column in body.split(",")]
            self.columns[name], self._types[name] = zip(*columns, strict=True)
            self.wide_columns[name] = tuple(
                index for index, one in enumerate(self._types[name]) if one == WIDE
            )
        else:
            self.about[name] = " ".join(line.lstrip("- ") for line in about.splitlines())
            self._bodies[name] = body
            self._sql[name] = self._include(name, body)

    def _include(self, statement: str, body: str, rows: int = 0, *, wide: bool = False) -> str:
        """:param rows: the number of rows of each `{runs.rows}`; 0 for arrays"""
        arrays = self._arrays[statement] = []
        first = 1

        def text(match: re.Match[str]) -> str:
            nonlocal first
            name, form, alias = match.groups()
            if form is None:
                return _INCLUDED.sub(text, self.fragments[name])
            columns = self.columns[name]
            if form == "names":
                return ", ".join(columns)
            if form == "of":
                return ", ".join(f"{alias}.{column}" for column in columns)
            if form == "set":
                return ", ".join(f"{column} = {alias}.{column}" for column in columns[1:])
            if form == "numbered":
                return ", ".join(f"{column} = ?{n}" for n, column in enumerate(columns[1:], 2))
            if form not in ("arrays", "rows"):
                raise ValueError(f"{statement}: there is no {{{name}.{form}}}")
            if "$" in body:
                raise ValueError(f"{statement} has numbered parameters beside {{{name}.{form}}}")
            arrays.append(name)
            types = self._types[name]
            if form == "rows" and rows:
                lines = []
                for _ in range(rows):
                    numbered = ", ".join(
                        f"${n}::{_type_of(one)}" for n, one in enumerate(types, first)
                    )
                    lines.append(f"({numbered})")
                    first += len(types)
                return "VALUES " + ", ".join(lines)
            listed = ", ".join(
                f"${n}::text[]" if wide and one == WIDE else f"${n}::text::{_type_of(one)}[]"
                for n, one in enumerate(types, first)
            )
            first += len(types)
            return f"SELECT * FROM unnest({listed})" if form == "rows" else listed

        return _INCLUDED.sub(text, body)

    def __getitem__(self, name: str) -> str:
        return self._sql[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._sql)

    def few(self, name: str, rows: int) -> str:
        """A statement that takes a number of rows, from 1, as single parameters."""
        found = self._few.get((name, rows))
        if found is None:
            found = self._few[name, rows] = self._include(name, self._bodies[name], rows)
        return found

    def wide(self, name: str) -> str:
        """A statement that takes the arrays of wide columns as they are."""
        found = self._wide.get(name)
        if found is None:
            found = self._wide[name] = self._include(name, self._bodies[name], wide=True)
        return found

    def few_parameters(
        self, name: str, rows: int, tables: Mapping[str, Sequence[Sequence[Any]]]
    ) -> list[Any]:
        """The parameters of `few`, in its order. Missing rows are null in every column.

        :param tables: at most so many rows, by the name of their list of columns
        """
        values: list[Any] = []
        for columns in self._arrays[name]:
            given = tables[columns]
            for row in given:
                values += row
            values += [None] * ((rows - len(given)) * len(self.columns[columns]))
        return values

    def parameters(self, name: str, arrays: Mapping[str, Sequence[Any]]) -> list[Any]:
        """The parameters of a statement that includes columns as arrays, in its order.

        :param arrays: one array for each column, by the name of the list
        """
        return [array for columns in self._arrays[name] for array in arrays[columns]]


def _type_of(column: str) -> str:
    return "text" if column == WIDE else column


def load_statements(package: str) -> Statements:
    """Read `queries.sql` of a package.

    :raises ValueError: a name is defined twice
    :raises KeyError: a statement includes a name that is not defined before it
    """
    return Statements(files(package).joinpath("queries.sql").read_text("utf-8"))

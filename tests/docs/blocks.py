"""The fenced blocks of a Markdown page."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"<!-- not run: (?P<reason>[^\n]+?) -->\n$")
HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
FILE_NAME = re.compile(r"(?:#|//) (?P<name>[\w./-]+\.\w+)\b")
QUOTED = re.compile(r"""\\.|'[^']*'|"(?:\\.|[^"\\])*"|(['"])""", re.DOTALL)
COMMENT = re.compile(r"\s# .*$")


class Block(NamedTuple):
    """One block.

    :ivar line: its first, counted from 1
    :ivar heading: of the section that it stands in, empty before the first
    :ivar not_run: the reason given by a comment `<!-- not run: … -->` above it
    """

    page: str
    line: int
    heading: str
    language: str
    text: str
    not_run: str | None = None

    @property
    def place(self) -> str:
        """Where it stands, for people."""
        return f"{self.page}:{self.line}"

    @property
    def file(self) -> str | None:
        """The file that its first line names in a comment, and whose text it is."""
        named = FILE_NAME.match(self.text)
        return named["name"] if named and not self.text.startswith("# /") else None


class Step(NamedTuple):
    """A command of a console block and the lines that it prints there."""

    block: Block
    command: str
    expected: list[str]


def read_blocks(page: Path) -> list[Block]:
    """Every fenced block of a page, in its order."""
    text = page.read_text()
    return [_block(page.name, text, found) for found in FENCE.finditer(text)]


def read_steps(block: Block) -> Iterator[Step]:
    """The commands of a console block: `$ command`, continued by a backslash, an open quotation
    mark or a here-document; the other lines are output.

    :raises ValueError: there is output before the first command
    """
    lines = iter(block.text.splitlines())
    command: str | None = None
    expected: list[str] = []
    for line in lines:
        if not line.startswith("$ "):
            if command is None:
                raise ValueError(f"{block.place}: {line!r} stands before the first command")
            expected.append(line)
            continue
        if command is not None:
            yield Step(block, command, expected)
        command, expected = line[2:], []
        while not _complete(command):
            command += "\n" + next(lines)
    if command is None:
        raise ValueError(f"{block.place}: no line begins with `$ `")
    yield Step(block, command, expected)


def _block(page: str, text: str, found: re.Match[str]) -> Block:
    reason = NOT_RUN.search(text, 0, found.start())
    line = text.count("\n", 0, found.start()) + 1
    heading = (HEADING.findall(text, 0, found.start()) or [""])[-1]
    return Block(page, line, heading, found["language"], found["text"], reason and reason["reason"])


def _complete(command: str) -> bool:
    here = re.search(r"<<-?'?(\w+)'?", command)
    if here is not None:
        return command.splitlines()[-1] == here[1] and "\n" in command
    code = COMMENT.sub("", command)
    return not code.endswith("\\") and not any(QUOTED.findall(code))

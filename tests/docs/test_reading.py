"""How pages are read, and what of their output may differ."""

from pathlib import Path

import pytest

from tests.docs.blocks import Block, read_blocks, read_steps
from tests.docs.console import Console
from tests.docs.expected import match, match_among
from tests.support.processes import Processes

PAGE = """# Page
```console
$ one 'and
two' # isn't it
out

$ cat > file <<'END'
$ not a command
END
$ three \\
    four
```
## Section
<!-- not run: needs a moon -->
```python
# folder/name.py (with a remark)
x = 1
```
```ini
# /etc/name.conf
```
"""


@pytest.fixture
def blocks(tmp_path: Path) -> list[Block]:
    (tmp_path / "page.md").write_text(PAGE)
    return read_blocks(tmp_path / "page.md")


def test_blocks_have_a_place_a_section_a_file_and_a_reason(blocks: list[Block]) -> None:
    assert [block.place for block in blocks] == ["page.md:2", "page.md:15", "page.md:19"]
    assert [block.heading for block in blocks] == ["", "Section", "Section"]
    assert [block.file for block in blocks] == [None, "folder/name.py", None]
    assert [block.not_run for block in blocks] == [None, "needs a moon", None]


def test_commands_end_where_the_shell_ends_them(blocks: list[Block]) -> None:
    steps = [(step.command, step.expected) for step in read_steps(blocks[0])]
    assert steps == [
        ("one 'and\ntwo' # isn't it", ["out", ""]),
        ("cat > file <<'END'\n$ not a command\nEND", []),
        ("three \\\n    four", []),
    ]


@pytest.mark.parametrize("text", ["out\n$ command\n", "# nothing\n"])
def test_output_without_a_command_is_refused(blocks: list[Block], text: str) -> None:
    with pytest.raises(ValueError, match=r"page\.md:2"):
        list(read_steps(blocks[0]._replace(text=text)))


OLD, NEW = "0" * 32, "f" * 32


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("at 2026-11-25 09:12:44 UTC", "at 2027-01-01 00:00:00 UTC"),
        ("ID    NAME", "ID                 NAME"),
        ("done, 0.11 s", "done, 12.50 s"),
        ("a … z", "a b c z"),
        ("/tmp/reports/x.json", "/var/elsewhere/x.json"),
    ],
)
def test_what_varies_may_be_another(shown: str, printed: str) -> None:
    assert match([shown], [printed]) == {}


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        (["one", "two"], ["one"]),
        (["one"], ["one", "two"]),
        (["status FAILED"], ["status FINISHED"]),
        (["one  two"], ["one two"]),
        (["2 of 3 stages"], ["2 of 4 stages"]),
        (["one", "…", "three"], ["one", "two"]),
    ],
)
def test_all_else_is_compared(shown: list[str], printed: list[str]) -> None:
    with pytest.raises(AssertionError):
        match(shown, printed)


def test_the_ids_that_are_printed_are_known_by_those_that_are_shown() -> None:
    shown = [f"{OLD}: EXECUTED, stage 1 of 1", "3a90…  done"]
    assert match(shown, [f"{NEW}: EXECUTED, stage 1 of 1", "abcd1234  done"]) == {
        OLD: NEW,
        "3a90…": "abcd1234",
    }


def test_lines_of_a_program_that_runs_on_may_stand_among_others() -> None:
    assert match_among(["b", "d"], ["a", "b", "c", "d", "e"]) == {}
    with pytest.raises(AssertionError):
        match_among(["d", "b"], ["a", "b", "c", "d", "e"])


@pytest.mark.parametrize(
    "text",
    ["$ false\n", "$ echo one\ntwo\n", "$ true\nerror: shown\n", "$ make quick\n"],
    ids=["it fails", "it prints something else", "it does not fail", "it changes the environment"],
)
async def test_a_page_that_is_wrong_is_found(
    blocks: list[Block], tmp_path: Path, processes: Processes, text: str
) -> None:
    console = Console(tmp_path, processes, None)
    [step] = read_steps(blocks[0]._replace(text=text))
    with pytest.raises(AssertionError):
        await console.run(step)


async def test_ids_variables_and_files_of_one_command_are_there_in_the_next(
    blocks: list[Block], tmp_path: Path, processes: Processes
) -> None:
    console = Console(tmp_path, processes, None)
    text = f"$ export A=1; echo {NEW} > file; cat file\n{OLD}\n$ echo {OLD} $A\n{OLD} 1\n"
    for step in read_steps(blocks[0]._replace(text=text)):
        await console.run(step)
    assert (tmp_path / "file").read_text() == f"{NEW}\n"

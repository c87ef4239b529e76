"""The list of commands in docs/cli.md: `python -m tests.cli.cli_document` writes it."""

from collections.abc import Iterator
from pathlib import Path

import click

from kaiju_tasks.cli.main import cli

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cli.md"
BEGIN = "<!-- commands: generated, see tests/cli/cli_document.py -->"
END = "<!-- /commands -->"


def render() -> str:
    """Every command with its arguments and options."""
    context = click.Context(cli, info_name="kaiju-tasks")
    return "\n\n".join(text for name in cli.list_commands(context) for text in _tree(context, name))


def committed() -> str:
    """What the page says."""
    return PAGE.read_text().partition(BEGIN)[2].partition(END)[0].strip()


def write() -> None:
    """Bring the page up to date."""
    head, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}\n\n{render()}\n\n{END}{rest.partition(END)[2]}")


def _tree(parent: click.Context, name: str) -> Iterator[str]:
    group = parent.command
    assert isinstance(group, click.Group)
    command = group.get_command(parent, name)
    assert command is not None
    context = click.Context(command, info_name=name, parent=parent)
    if not isinstance(command, click.Group):
        yield _command(context)
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            yield from _tree(context, child)


def _command(context: click.Context) -> str:
    command = context.command
    pieces = " ".join(command.collect_usage_pieces(context))
    lines = [f"#### `{context.command_path} {pieces}`", ""]
    lines += [paragraph.replace("\n", " ") for paragraph in _paragraphs(command.help or "")]
    options = [option for option in command.params if isinstance(option, click.Option)]
    shown = [record for option in options if (record := option.get_help_record(context))]
    if shown:
        lines += ["", "| option | meaning |", "| --- | --- |"]
        lines += [f"| `{_cell(names)}` | {_cell(text)} |" for names, text in shown]
    return "\n".join(lines)


def _paragraphs(text: str) -> list[str]:
    paragraphs = [" ".join(part.split()) for part in text.split("\n\n")]
    return [line for part in paragraphs for line in (part, "")][:-1]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    write()

"""Every command of the command line, with arguments that it takes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click

from kaiju_tasks.cli.main import cli

ASK_NO_MANAGER = {
    ("serve",),
    ("executor",),
    ("run",),
    ("bench",),
    ("conformance",),
    ("openrpc",),
    ("db", "migrate"),
    ("db", "status"),
}
PRINT_NO_JSON = {("serve",), ("executor",), ("openrpc",)}

VALUES = {
    "expression": "0 9 * * *",
    "stage": "0",
    "fields": "enabled=false",
    "places": "kaiju_tasks.samples:executor",
    "names": "runs.failed",
}
ONE_OF: dict[tuple[str, ...], tuple[str, ...]] = {("token", "quota"): ("--pauses", "5")}
"""Options of commands that need one of several."""


class Leaf(NamedTuple):
    """One command that does something.

    :ivar path: its words
    :ivar arguments: that it takes
    :ivar command: what click has of it
    """

    path: tuple[str, ...]
    arguments: tuple[str, ...]
    has_json: bool
    command: click.Command

    @property
    def words(self) -> tuple[str, ...]:
        return self.path + self.arguments


def leaves(folder: Path) -> list[Leaf]:
    """All of them.

    :param folder: gets a task file
    """
    file = folder / "task.json"
    file.write_text(json.dumps({"commands": [{"method": "do.echo"}]}))
    context = click.Context(cli, info_name="kaiju-tasks")
    return [
        Leaf(
            path,
            _arguments(command, str(file)) + ONE_OF.get(path, ()),
            _has_json(command),
            command,
        )
        for path, command in _below(context, cli, ())
    ]


def asking(folder: Path) -> list[Leaf]:
    """Those that ask a manager."""
    return [leaf for leaf in leaves(folder) if leaf.path not in ASK_NO_MANAGER]


def _below(
    context: click.Context, group: click.Group, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if not isinstance(command, click.Group):
            yield (*path, name), command
        if isinstance(command, click.Group):
            inner = click.Context(command, info_name=name, parent=context)
            yield from _below(inner, command, (*path, name))


def _arguments(command: click.Command, file: str) -> tuple[str, ...]:
    given: list[str] = []
    for param in command.params:
        if isinstance(param, click.Argument):
            given.append({**VALUES, "file": file}.get(str(param.name), "nope"))
        elif param.required:
            given += [param.opts[0], "nope"]
    return tuple(given)


def _has_json(command: click.Command) -> bool:
    return any("--json" in param.opts for param in command.params)

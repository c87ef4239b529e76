"""`kaiju-tasks executors …`"""

from typing import Any

import click

from kaiju_tasks.cli.completion import complete_app, complete_executor
from kaiju_tasks.cli.group import Group
from kaiju_tasks.cli.ids import call_with_id
from kaiju_tasks.cli.listing import Listing, columns_option, fields_of
from kaiju_tasks.cli.output import json_option, print_fields, print_json
from kaiju_tasks.cli.reason import read_reason, reason_option
from kaiju_tasks.cli.remote import call

__all__ = ["executors"]


def _app_names(executor: dict[str, Any]) -> str:
    return ",".join(executor["app_names"])


def _running_of_capacity(executor: dict[str, Any]) -> str:
    return f"{executor['running']}/{executor['capacity']}"


def _first_paragraph(command: dict[str, Any]) -> str:
    return " ".join(command["doc"].partition("\n\n")[0].split())


EXECUTORS = Listing(
    columns=("id", "app_names", "status", "running", "last_ping", "version"),
    important=("id", "status", "running", "app_names", "last_ping", "version"),
    fields=fields_of("ExecutorInfo"),
    noun="executors",
    computed={"app_names": _app_names, "running": _running_of_capacity},
)
COMMANDS = Listing(
    columns=("app_name", "method", "executors", "doc"),
    important=("method", "app_name", "doc", "executors"),
    fields=lambda: ("app_name", "method", "params", "doc", "executors", "result", "examples"),
    noun="commands",
    computed={"doc": _first_paragraph},
)


@click.group(cls=Group, short_help="List executors and operate them.")
def executors() -> None:
    """List executors and operate them. Without a command, list them."""


@executors.command("list")
@columns_option
@json_option
def list_executors(columns: str | None, as_json: bool) -> None:
    """List the executors that are connected or were connected recently."""
    chosen = EXECUTORS.choose(columns, as_json)
    found = call("executors.list")
    if as_json:
        print_json(found)
    else:
        EXECUTORS.print(found, chosen)


@executors.command()
@click.argument("id", shell_complete=complete_executor)
@json_option
def show(id: str, as_json: bool) -> None:
    """Show one executor."""
    executor = call_with_id("executors.get", id)
    if as_json:
        print_json(executor)
    else:
        print_fields([(name, value) for name, value in executor.items() if value is not None])


@executors.command()
@click.option("--app", "app_name", shell_complete=complete_app, help="Only methods of this stream.")
@columns_option
@json_option
def commands(app_name: str | None, columns: str | None, as_json: bool) -> None:
    """List the methods that executors have registered."""
    chosen = COMMANDS.choose(columns, as_json)
    params = {} if app_name is None else {"app_name": app_name}
    found = call("executors.commands", **params)
    if as_json:
        print_json(found)
    else:
        COMMANDS.print(found, chosen)


def _add_operation(name: str, text: str) -> None:
    @executors.command(name, help=text)
    @click.argument("id", shell_complete=complete_executor)
    @reason_option
    @json_option
    def operate(id: str, reason: str | None, as_json: bool) -> None:
        changed = call_with_id(f"executors.{name}", id, **read_reason(reason))
        if as_json:
            print_json(changed)
        else:
            click.echo(f"{changed['id']}: {changed['status']}")


_add_operation("suspend", "Release an executor's tasks and refuse it until it is resumed.")
_add_operation("resume", "Allow an executor to take tasks again.")
_add_operation("drain", "Give an executor no new tasks. Tasks that it holds continue.")

"""`kaiju-tasks executors …`"""

import click

from kaiju_tasks.cli.output import json_option, moment, print_json, print_table
from kaiju_tasks.cli.remote import call

__all__ = ["executors"]


@click.group(invoke_without_command=True, short_help="List executors and operate them.")
@json_option
@click.pass_context
def executors(ctx: click.Context, as_json: bool) -> None:
    """Look at executors and operate them; without a command, list them."""
    if ctx.invoked_subcommand is None:
        _list(as_json)
    elif as_json:
        raise click.UsageError(f"--json stands after the command: {ctx.invoked_subcommand} --json")


@executors.command("list")
@json_option
def list_executors(as_json: bool) -> None:
    """List the executors that are connected or were lately."""
    _list(as_json)


@executors.command()
@click.option("--app", "app_name", help="Only of this stream.")
@json_option
def commands(app_name: str | None, as_json: bool) -> None:
    """List the methods that executors have registered."""
    params = {} if app_name is None else {"app_name": app_name}
    found = call("executors.commands", **params)
    if as_json:
        print_json(found)
        return
    rows = [
        (view["app_name"], view["method"], view["executors"], _first_paragraph(view["doc"]))
        for view in found
    ]
    print_table(("app_name", "method", "executors", "doc"), rows)


def _list(as_json: bool) -> None:
    found = call("executors.list")
    if as_json:
        print_json(found)
        return
    rows = [
        (
            executor["id"],
            ",".join(executor["app_names"]),
            executor["status"],
            f"{executor['running']}/{executor['capacity']}",
            moment(executor["last_ping"]),
            executor["version"],
        )
        for executor in found
    ]
    print_table(("id", "app_names", "status", "running", "last_ping", "version"), rows)


def _first_paragraph(doc: str) -> str:
    return " ".join(doc.partition("\n\n")[0].split())


def _add_operation(name: str, text: str) -> None:
    @executors.command(name, help=text)
    @click.argument("id")
    @json_option
    def operate(id: str, as_json: bool) -> None:
        changed = call(f"executors.{name}", id=id)
        if as_json:
            print_json(changed)
        else:
            click.echo(f"{changed['id']}: {changed['status']}")


_add_operation("suspend", "Take an executor's work away and refuse it until it is resumed.")
_add_operation("resume", "Let an executor take work again.")
_add_operation("drain", "Give an executor no new work; what it holds goes on.")

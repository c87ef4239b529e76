"""`kaiju-tasks token …`"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kaiju_tasks.cli.fail import CALL_FAILED, USAGE, Failed, sentence, when_interrupted
from kaiju_tasks.cli.listing import Listing, columns_option, fields_of
from kaiju_tasks.cli.output import json_option, print_json
from kaiju_tasks.cli.settings import read_settings, setting_options
from kaiju_tasks.errors import InvalidParams, KaijuError, SettingsError, Unavailable
from kaiju_tasks.rights import Kind, Verb, token_id_in
from kaiju_tasks.times import show_time

if TYPE_CHECKING:
    from kaiju_tasks.manager.auth import TokenOrder
    from kaiju_tasks.store import Store

__all__ = ["token"]

T = TypeVar("T")

DAY, HOUR = 86_400.0, 3_600.0
LISTS = {
    "streams": ("--stream", "GLOB", "Streams."),
    "methods": ("--method", "GLOB", "Methods that tasks may call."),
    "message": ("--message", "GLOB", "Ids of tasks of others that may be sent messages."),
    "executors": ("--executor", "GLOB", "Ids that an executor may take."),
    "webhook_hosts": ("--webhook-host", "GLOB", "Hosts that webhooks may call."),
    "stages": ("--stage", "GLOB", "Methods of the manager that tasks may call."),
}
TOKENS = Listing(
    columns=("id", "principal", "kind", "note", "expires_at", "revoked_at", "last_used"),
    important=("id", "principal", "kind", "expires_at", "revoked_at", "last_used", "note"),
    fields=fields_of("TokenInfo"),
    sparse=("note", "revoked_at"),
)


@click.group()
def token() -> None:
    """Create, list, rotate and revoke tokens.

    The commands work on the database: who can write it is an administrator already. A manager may
    be running. Managers do not require tokens yet.
    """


def _scope_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for name, (option, metavar, text) in reversed(LISTS.items()):
        command = click.option(
            option,
            name,
            multiple=True,
            metavar=metavar,
            help=f"{text} `*` is any text, `?` any character. Can be repeated.",
        )(command)
    return command


@token.command(short_help="Create a token, and print it once.")
@click.argument("principal")
@click.option(
    "--kind",
    type=click.Choice([kind.value for kind in Kind]),
    help="The kind of the principal; required if it does not exist yet.",
)
@_scope_options
@click.option(
    "--verb",
    "verbs",
    multiple=True,
    type=click.Choice([verb.value for verb in Verb]),
    help="What may be done. Can be repeated.",
)
@click.option("--capacity", type=int, help="The most tasks that an executor may hold.")
@click.option("--see-data/--no-see-data", default=None, help="Show kws, params and results.")
@click.option("--note", help="What the token is for.")
@click.option(
    "--days",
    type=click.FloatRange(0, 3650, min_open=True),
    help="Days until it expires. Default: 90; 365 for executors.",
)
@setting_options("db")
@json_option
def create(
    principal: str,
    kind: str | None,
    note: str | None,
    days: float | None,
    config: str | None,
    db: str | None,
    as_json: bool,
    **limits: Any,
) -> None:
    """Create a token for a principal, a person or a program, and print it.

    The token is shown only this once. Limits that are not given are the defaults of the kind.
    """
    from kaiju_tasks.manager.auth import database_issuer

    given = {
        "principal": principal,
        "kind": kind,
        "note": note,
        "lifetime": None if days is None else days * DAY,
        "scope": {name: value for name, value in limits.items() if value not in (None, ())},
    }
    order = _order({name: value for name, value in given.items() if value is not None})
    issued = _on_database(config, db, lambda store: database_issuer(store).create(order))
    _print_issued(issued, as_json)


@token.command("list")
@setting_options("db")
@columns_option
@json_option
def list_tokens(config: str | None, db: str | None, columns: str | None, as_json: bool) -> None:
    """List all tokens, without their secrets."""
    from kaiju_tasks.manager.auth import list_tokens

    chosen = TOKENS.choose(columns, as_json)
    found = [_plain(info) for info in _on_database(config, db, list_tokens)]
    if as_json:
        print_json(found)
    else:
        TOKENS.print(found, chosen)


@token.command(short_help="Replace a token by a new one.")
@click.argument("token_id", metavar="ID")
@click.option(
    "--overlap",
    type=click.FloatRange(0, 720),
    default=24.0,
    show_default=True,
    metavar="HOURS",
    help="Hours for which the old token remains valid.",
)
@setting_options("db")
@json_option
def rotate(
    token_id: str, overlap: float, config: str | None, db: str | None, as_json: bool
) -> None:
    """Replace a token by a new one with the same scope and lifetime, and print that."""
    from kaiju_tasks.manager.auth import database_issuer

    seconds = overlap * HOUR
    issued = _on_database(
        config, db, lambda store: database_issuer(store).rotate(token_id_in(token_id), seconds)
    )
    _print_issued(issued, as_json)


@token.command(short_help="Refuse a token from now on.")
@click.argument("token_id", metavar="ID")
@setting_options("db")
@json_option
def revoke(token_id: str, config: str | None, db: str | None, as_json: bool) -> None:
    """Refuse a token from now on."""
    from kaiju_tasks.manager.auth import database_issuer

    revoked = _on_database(
        config, db, lambda store: database_issuer(store).revoke(token_id_in(token_id))
    )
    if as_json:
        print_json(_plain(revoked))
    else:
        click.echo("revoked")


def _on_database(config: str | None, db: str | None, work: "Callable[[Store], Awaitable[T]]") -> T:
    settings = read_settings(config, {"db": db})

    from kaiju_tasks.cli.loop import run_loop
    from kaiju_tasks.store.base import StoreError
    from kaiju_tasks.store.open import make_store

    async def run() -> T:
        store = make_store(settings.db, connections=1, beside=True)
        await store.open()
        try:
            return await work(store)
        finally:
            await store.close()

    try:
        with when_interrupted("Interrupted."):
            return run_loop(run())
    except SettingsError as error:
        raise Failed(str(error), USAGE, error) from error
    except KaijuError as error:
        raise Failed(sentence(str(error)), CALL_FAILED, error) from error
    except StoreError as error:
        raise Failed(str(error), CALL_FAILED, Unavailable(str(error))) from error


def _order(given: dict[str, Any]) -> "TokenOrder":
    from kaiju_tasks.manager.auth import TokenOrder
    from kaiju_tasks.rpc import convert

    try:
        return convert(given, TokenOrder)
    except InvalidParams as error:
        raise Failed(sentence(str(error)), USAGE, error) from error


def _print_issued(issued: Any, as_json: bool) -> None:
    if as_json:
        print_json(_plain(issued))
        return
    click.echo(issued.token)
    expires = show_time(issued.expires_at)
    click.echo(
        f"Token {issued.id} of {issued.principal} ({issued.kind}) expires {expires}. "
        "It is not shown again.",
        err=True,
    )


def _plain(info: Any) -> Any:
    import msgspec

    return msgspec.to_builtins(info)

"""`kaiju-tasks token …`"""

import math
import os
from collections.abc import Callable
from typing import Any

import click

from kaiju_tasks.cli.completion import complete_token
from kaiju_tasks.cli.fail import CALL_FAILED, USAGE, Failed, sentence, when_interrupted
from kaiju_tasks.cli.group import Group
from kaiju_tasks.cli.listing import Listing, columns_option, fields_of
from kaiju_tasks.cli.output import json_option, print_json
from kaiju_tasks.cli.reason import read_reason, reason_option
from kaiju_tasks.cli.remote import call
from kaiju_tasks.cli.settings import read_settings, setting_options
from kaiju_tasks.errors import InvalidParams, KaijuError, Unavailable
from kaiju_tasks.rights import Kind, Verb, token_id_in
from kaiju_tasks.times import show_time

__all__ = ["token"]

DATABASE = ("KAIJU_DB", "KAIJU_DB_FILE")
DAY, HOUR = 86_400.0, 3_600.0
DEFAULT = "default"
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
    noun="tokens",
    sparse=("note", "revoked_at"),
)


@click.group(cls=Group, short_help="Create, list, rotate and revoke tokens, and set quotas.")
def token() -> None:
    """Create, list, rotate and revoke tokens, and set quotas. Without a command, list tokens.

    With --db or KAIJU_DB, the commands work on the database, also while managers use it: who can
    write it is an administrator already. Otherwise they call the manager, which requires a token of
    the kind admin, unless there is none yet.

    The first token ends all access without a token, also on this machine. Managers take changes
    into account within 3 seconds.
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
@reason_option
@setting_options("db")
@json_option
def create(
    principal: str,
    kind: str | None,
    note: str | None,
    days: float | None,
    reason: str | None,
    config: str | None,
    db: str | None,
    as_json: bool,
    **limits: Any,
) -> None:
    """Create a token for a principal, a person or a program, and print it.

    The token is shown only this once. Limits that are not given are the defaults of the kind.
    """
    given = {
        "principal": principal,
        "kind": kind,
        "note": note,
        "lifetime": None if days is None else days * DAY,
        "scope": {name: value for name, value in limits.items() if value not in (None, ())},
    }
    data = {name: value for name, value in given.items() if value is not None}
    issued = _ask("tokens.create", {"data": data} | read_reason(reason), config, db)
    _print_issued(issued, as_json)


@token.command("list")
@setting_options("db")
@columns_option
@json_option
def list_tokens(config: str | None, db: str | None, columns: str | None, as_json: bool) -> None:
    """List all tokens, without their secrets."""
    chosen = TOKENS.choose(columns, as_json)
    found = _ask("tokens.list", {}, config, db)
    if as_json:
        print_json(found)
    else:
        TOKENS.print(found, chosen)


@token.command(short_help="Replace a token by a new one.")
@click.argument("id", shell_complete=complete_token)
@click.option(
    "--overlap",
    type=click.FloatRange(0, 720),
    default=24.0,
    show_default=True,
    metavar="HOURS",
    help="Hours for which the old token remains valid.",
)
@reason_option
@setting_options("db")
@json_option
def rotate(
    id: str,
    overlap: float,
    reason: str | None,
    config: str | None,
    db: str | None,
    as_json: bool,
) -> None:
    """Replace a token by a new one with the same scope and lifetime, and print that."""
    params = {"id": token_id_in(id), "overlap": overlap * HOUR} | read_reason(reason)
    issued = _ask("tokens.rotate", params, config, db)
    _print_issued(issued, as_json)


@token.command(short_help="Refuse a token from now on.")
@click.argument("id", shell_complete=complete_token)
@reason_option
@setting_options("db")
@json_option
def revoke(id: str, reason: str | None, config: str | None, db: str | None, as_json: bool) -> None:
    """Refuse a token from now on. Managers do so within 3 seconds."""
    revoked = _ask("tokens.revoke", {"id": token_id_in(id)} | read_reason(reason), config, db)
    if as_json:
        print_json(revoked)
    else:
        click.echo("revoked")


class _Quota(click.ParamType):  # type: ignore[type-arg]
    """A number, or `default`."""

    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | str:
        if value == DEFAULT:
            return DEFAULT
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not 0 <= number < math.inf:
            self.fail(f"{value!r} is neither a number from 0 on nor `{DEFAULT}`.", param, ctx)
        return int(number) if number.is_integer() else number


def _quota_option(option: str, text: str) -> Callable[..., Any]:
    help = f"{text} 0: no limit; `{DEFAULT}`: as the settings say."
    return click.option(option, type=_Quota(), metavar="NUMBER", help=help)


@token.command(short_help="Set the quotas of a principal.")
@click.argument("principal")
@_quota_option("--open-tasks", "The most tasks that have not ended.")
@_quota_option("--creates-per-second", "The most tasks created in a second.")
@_quota_option("--pauses", "The most pauses.")
@reason_option
@setting_options("db")
@json_option
def quota(
    principal: str,
    reason: str | None,
    config: str | None,
    db: str | None,
    as_json: bool,
    **quotas: Any,
) -> None:
    """Set how much a principal may use. What is not given stays.

    A quota below what is used ends nothing: it refuses more.
    """
    given = {
        name: None if value == DEFAULT else value
        for name, value in quotas.items()
        if value is not None
    }
    if not given:
        raise click.UsageError("Give at least one of --open-tasks, --creates-per-second, --pauses.")
    params = {"id": principal, "data": {"quotas": given}} | read_reason(reason)
    changed = _ask("principals.update", params, config, db)
    if as_json:
        print_json(changed)
    else:
        own = ", ".join(f"{name} {value}" for name, value in changed["quotas"].items())
        click.echo(own or "as the settings say")


def _ask(method: str, params: dict[str, Any], config: str | None, db: str | None) -> Any:
    """Call a method, or do the same on the database.

    :returns: its result as plain data
    """
    if (
        config is None
        and db is None
        and not any(os.environ.get(one, "").strip() for one in DATABASE)
    ):
        return call(method, **params)
    settings = read_settings(config, {"db": db})

    from kaiju_tasks.cli.loop import run_loop
    from kaiju_tasks.store.base import StoreError

    try:
        with when_interrupted("Interrupted."):
            return run_loop(_on_database(settings.db, method, params))
    except InvalidParams as error:
        raise Failed(sentence(str(error)), USAGE, error) from error
    except KaijuError as error:
        raise Failed(sentence(str(error)), CALL_FAILED, error) from error
    except StoreError as error:
        raise Failed(str(error), CALL_FAILED, Unavailable(str(error))) from error


async def _on_database(url: str, method: str, params: dict[str, Any]) -> Any:
    import msgspec

    from kaiju_tasks.manager.auth import (
        PrincipalChanges,
        TokenOrder,
        database_issuer,
        list_tokens,
    )
    from kaiju_tasks.rpc import convert
    from kaiju_tasks.store.open import make_store

    store = make_store(url, connections=1, beside=True)
    await store.open()
    try:
        issuer = database_issuer(store, params.get("reason"))
        result: Any
        match method:
            case "tokens.create":
                result = await issuer.create(convert(params["data"], TokenOrder, prefix="data"))
            case "tokens.list":
                result = await list_tokens(store)
            case "tokens.rotate":
                result = await issuer.rotate(params["id"], params["overlap"])
            case "tokens.revoke":
                result = await issuer.revoke(params["id"])
            case "principals.update":
                changes = convert(params["data"], PrincipalChanges, prefix="data")
                result = await issuer.update(params["id"], changes)
        return msgspec.to_builtins(result)
    finally:
        await store.close()


def _print_issued(issued: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(issued)
        return
    click.echo(issued["token"])
    expires = show_time(issued["expires_at"])
    click.echo(
        f"Token {issued['id']} of {issued['principal']} ({issued['kind']}) expires {expires}. "
        "It is not shown again.",
        err=True,
    )

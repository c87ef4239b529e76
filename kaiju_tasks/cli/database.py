"""`kaiju-tasks db …`"""

import sys
from typing import TYPE_CHECKING, Any

import click

from kaiju_tasks.cli.fail import CALL_FAILED, USAGE, Failed, when_interrupted
from kaiju_tasks.cli.group import Group
from kaiju_tasks.cli.listing import Listing, columns_option
from kaiju_tasks.cli.output import json_option, print_json
from kaiju_tasks.cli.settings import read_settings, setting_options

if TYPE_CHECKING:
    from kaiju_tasks.store.migrations import MigrationStatus as Status

__all__ = ["db"]

COLUMNS = ("version", "name", "state", "applied_at")
MIGRATIONS = Listing(
    columns=COLUMNS, important=("version", "state", "name", "applied_at"), fields=lambda: COLUMNS
)
INTERRUPTED_MIGRATION = (
    "Interrupted. `kaiju-tasks db status` lists the migrations that were applied."
)


@click.group(cls=Group, short_help="Create or check the database's tables.")
def db() -> None:
    """Create or check the database's tables.

    A manager migrates the tables itself when it starts.
    """


@db.command()
@setting_options("db")
@columns_option
@json_option
def migrate(config: str | None, columns: str | None, as_json: bool, **given: Any) -> None:
    """Create the tables, or migrate them to this version."""
    chosen = MIGRATIONS.choose(columns, as_json)
    _print(_statuses(config, given, change=True), chosen, as_json)


@db.command()
@setting_options("db")
@columns_option
@json_option
def status(config: str | None, columns: str | None, as_json: bool, **given: Any) -> None:
    """List the migrations. The exit code is 1 if the tables are not up to date."""
    chosen = MIGRATIONS.choose(columns, as_json)
    found = _statuses(config, given, change=False)
    _print(found, chosen, as_json)
    sys.exit(0 if all(one.state == "applied" for one in found) else CALL_FAILED)


def _statuses(config: str | None, given: dict[str, Any], *, change: bool) -> "list[Status]":
    settings = read_settings(config, given)

    from kaiju_tasks.cli.loop import run_loop
    from kaiju_tasks.errors import SettingsError, Unavailable
    from kaiju_tasks.store.base import StoreError
    from kaiju_tasks.store.open import migrate, migration_status

    try:
        with when_interrupted(INTERRUPTED_MIGRATION if change else "Interrupted."):
            return run_loop((migrate if change else migration_status)(settings.db))
    except SettingsError as error:
        raise Failed(str(error), USAGE, error) from error
    except StoreError as error:
        raise Failed(str(error), CALL_FAILED, Unavailable(str(error))) from error


def _print(found: "list[Status]", chosen: list[str] | None, as_json: bool) -> None:
    entries = [{name: getattr(one, name) for name in COLUMNS} for one in found]
    if as_json:
        print_json(entries)
    else:
        MIGRATIONS.print(entries, chosen)

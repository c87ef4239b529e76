"""`kaiju-tasks db …`"""

import sys
from typing import TYPE_CHECKING, Any

import click

from kaiju_tasks.cli.fail import CALL_FAILED, USAGE, Failed, when_interrupted
from kaiju_tasks.cli.output import json_option, moment, print_json, print_table
from kaiju_tasks.cli.settings import read_settings, setting_options

if TYPE_CHECKING:
    from kaiju_tasks.store.migrations import MigrationStatus as Status

__all__ = ["db"]

INTERRUPTED_MIGRATION = (
    "Interrupted; `kaiju-tasks db status` lists the migrations that were applied."
)


@click.group(short_help="Create or check the database's tables.")
def db() -> None:
    """The database's tables. A manager migrates them itself when it starts."""


@db.command()
@setting_options("db")
@json_option
def migrate(config: str | None, as_json: bool, **given: Any) -> None:
    """Create the tables, or bring them up to date."""
    _print(_statuses(config, given, change=True), as_json)


@db.command()
@setting_options("db")
@json_option
def status(config: str | None, as_json: bool, **given: Any) -> None:
    """List the migrations; exit code 1 when the tables are not up to date."""
    found = _statuses(config, given, change=False)
    _print(found, as_json)
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


def _print(found: "list[Status]", as_json: bool) -> None:
    columns = ("version", "name", "state", "applied_at")
    if as_json:
        print_json([{name: getattr(one, name) for name in columns} for one in found])
        return
    rows = [(one.version, one.name, one.state, moment(one.applied_at)) for one in found]
    print_table(columns, rows)

"""`kaiju-tasks serve`"""

from typing import Any

import click

from kaiju_tasks.cli.fail import USAGE, Failed
from kaiju_tasks.cli.settings import read_settings, setting_options
from kaiju_tasks.settings import Settings, load_settings

__all__ = ["serve"]


@click.command()
@click.option(
    "--executor",
    "executors",
    multiple=True,
    metavar="MODULE:ATTR",
    help="Run this executor as a child process. Can be repeated.",
)
@click.option(
    "--no-migrate", is_flag=True, help="Refuse to start if the tables are not up to date."
)
@setting_options()
def serve(executors: tuple[str, ...], no_migrate: bool, config: str | None, **given: Any) -> None:
    """Run a manager with its API, a start page with links, health checks and metrics.

    SIGHUP reads the TLS certificate, the tokens and the log level again.
    """
    settings = read_settings(config, given)

    from kaiju_tasks.cli.logs import configure_logging
    from kaiju_tasks.cli.loop import run_loop
    from kaiju_tasks.errors import SettingsError
    from kaiju_tasks.server import CannotServe
    from kaiju_tasks.server import serve as serve_manager
    from kaiju_tasks.system_executor import system_executor

    configure_logging(settings)

    def reload() -> Settings:
        read = load_settings(config, overrides=given)
        configure_logging(read)
        return read

    try:
        run_loop(
            serve_manager(
                settings,
                executors=executors,
                migrate=not no_migrate,
                beside=[system_executor],
                say=_say,
                reload=reload,
            )
        )
    except SettingsError as error:
        raise Failed(str(error), USAGE, error) from error
    except CannotServe as error:
        raise Failed(str(error), error.exit_code) from error


def _say(line: str) -> None:
    click.echo(line)

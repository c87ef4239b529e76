"""`kaiju-tasks executor`"""

import os
import signal
import sys
import threading
import time
from typing import Any

import click

from kaiju_tasks.cli.fail import USAGE, Failed
from kaiju_tasks.cli.settings import read_settings, setting_options

__all__ = ["executor"]

DEFAULT_URL = "http://127.0.0.1:8077"
HURRY_SECONDS = 3.0


@click.command()
@click.argument("places", nargs=-1, required=True, metavar="MODULE:ATTR...")
@click.option(
    "--manager",
    "managers",
    multiple=True,
    metavar="URL",
    help=f"A manager; several are tried in turn. Default KAIJU_URL, else {DEFAULT_URL}.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 100_000),
    default=32,
    show_default=True,
    help="Tasks held at once.",
)
@click.option(
    "--max-tasks", type=click.IntRange(1), help="Start the process anew after so many tasks."
)
@click.option("--until-idle", is_flag=True, help="End when there was nothing to do for a second.")
@click.option("--id", "executor_id", help="Its name in lists; made up by default.")
@click.option("--end-with-stdin", is_flag=True, hidden=True)
@setting_options("kill_grace", "shutdown_grace", "log_level", "log_format")
def executor(
    places: tuple[str, ...],
    managers: tuple[str, ...],
    concurrency: int,
    max_tasks: int | None,
    until_idle: bool,
    executor_id: str | None,
    end_with_stdin: bool,
    config: str | None,
    **given: Any,
) -> None:
    """Run an executor: take tasks from managers and run their commands.

    The token is taken from KAIJU_TOKEN. Exit codes: 0 ended as asked, 2 no such executor,
    75 no manager could be reached any more, 77 the manager does not let it in.
    """
    settings = read_settings(config, given)

    from kaiju_tasks.cli.logs import configure_logging
    from kaiju_tasks.cli.loop import run_loop
    from kaiju_tasks.executor.load import LoadError, load_executor
    from kaiju_tasks.executor.process import run_executor
    from kaiju_tasks.executor.workshop import by_app_name

    configure_logging(settings)
    try:
        served = [load_executor(place) for place in places]
        by_app_name(served)
    except (LoadError, ValueError) as error:
        raise Failed(f"{_sentence(str(error))}", USAGE) from error
    if end_with_stdin:
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    code = run_loop(
        run_executor(
            served,
            list(managers) or [os.environ.get("KAIJU_URL") or DEFAULT_URL],
            token=os.environ.get("KAIJU_TOKEN") or None,
            concurrency=concurrency,
            max_tasks=max_tasks,
            until_idle=until_idle,
            shutdown_grace=settings.shutdown_grace,
            kill_grace=settings.kill_grace,
            executor_id=executor_id,
        )
    )
    sys.exit(code)


def _end_with_stdin() -> None:
    """The manager that started this process holds the other end: when it is gone, so are we."""
    while os.read(0, 1024):
        pass
    for _ in range(3):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(HURRY_SECONDS)
    os._exit(1)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")

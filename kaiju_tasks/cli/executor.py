"""`kaiju-tasks executor`"""

import os
import signal
import sys
import threading
import time
from typing import Any

import click

from kaiju_tasks.address import WEBSOCKET_SCHEMES, read_url
from kaiju_tasks.cli.fail import USAGE, Failed
from kaiju_tasks.cli.remote import DEFAULT_URL, manager_token, manager_url
from kaiju_tasks.cli.settings import read_settings, setting_options
from kaiju_tasks.errors import InvalidParams, NotAManager

__all__ = ["executor"]

HURRY_SECONDS = 3.0


@click.command(short_help="Run an executor: take tasks, run their commands.")
@click.argument("places", nargs=-1, metavar="[MODULE:ATTR]...")
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
@click.option(
    "--forward",
    metavar="URL",
    help="Serve a stream whose commands are calls to the JSON-RPC 2.0 service there.",
)
@click.option(
    "--app-name", metavar="NAME", help="The stream of --forward. Default default_app_name."
)
@click.option(
    "--health-port",
    type=click.IntRange(0, 65_535),
    metavar="PORT",
    help="Serve /healthz and /readyz there, on 127.0.0.1.",
)
@click.option("--end-with-stdin", is_flag=True, hidden=True)
@setting_options("kill_grace", "shutdown_grace", "log_level", "log_format")
def executor(
    places: tuple[str, ...],
    managers: tuple[str, ...],
    concurrency: int,
    max_tasks: int | None,
    until_idle: bool,
    executor_id: str | None,
    forward: str | None,
    app_name: str | None,
    health_port: int | None,
    end_with_stdin: bool,
    config: str | None,
    **given: Any,
) -> None:
    """Run an executor: take tasks from managers and run their commands.

    Each MODULE:ATTR is an Executor, as in billing.tasks:executor. With --forward no Python is
    needed: the commands are those of a service.

    The token is taken from KAIJU_TOKEN. Exit codes: 0 ended as asked, 2 no such executor, or no
    manager at a URL, 75 no manager could be reached any more, 77 the manager does not let it in.
    """
    settings = read_settings(config, given)
    if not places and forward is None:
        raise Failed("Name an Executor as MODULE:ATTR, or a service with --forward URL.", USAGE)

    urls = [_manager(url) for url in managers] or [manager_url()]
    token = manager_token()

    from kaiju_tasks.cli.forward import forwarded
    from kaiju_tasks.cli.logs import configure_logging
    from kaiju_tasks.cli.loop import run_loop
    from kaiju_tasks.executor.health import HealthPortTaken
    from kaiju_tasks.executor.load import LoadError, load_executor
    from kaiju_tasks.executor.process import run_executor
    from kaiju_tasks.executor.runtime import by_app_name

    configure_logging(settings)
    try:
        served = [load_executor(place) for place in dict.fromkeys(places)]
        served += forwarded(forward, app_name, settings.default_app_name)
        by_app_name(served)
    except (LoadError, ValueError) as error:
        raise Failed(f"{_sentence(str(error))}", USAGE) from error
    if end_with_stdin:
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    running = run_executor(
        served,
        urls,
        token=token,
        concurrency=concurrency,
        max_tasks=max_tasks,
        until_idle=until_idle,
        shutdown_grace=settings.shutdown_grace,
        kill_grace=settings.kill_grace,
        executor_id=executor_id,
        health_port=health_port,
    )
    try:
        code = run_loop(running)
    except HealthPortTaken as error:
        raise Failed(_sentence(str(error))) from error
    except NotAManager as error:
        raise Failed(str(error), USAGE, error) from error
    sys.exit(code)


def _manager(url: str) -> str:
    try:
        read_url(url.strip(), "--manager", schemes=WEBSOCKET_SCHEMES)
    except InvalidParams as error:
        raise Failed(f"{error}.", USAGE, error) from error
    return url.strip()


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

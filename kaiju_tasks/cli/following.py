"""Commands that follow a manager, and continue when it restarts."""

import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kaiju_tasks.cli.fail import NO_MANAGER, Failed, sentence
from kaiju_tasks.cli.remote import SET_URL, START_ONE, CallFailed, manager_token, manager_url

if TYPE_CHECKING:
    from kaiju_tasks.client import Client

__all__ = ["follow", "retry_option"]

RETRY_SECONDS = 300.0
T = TypeVar("T")

retry_option = click.option(
    "--retry-seconds",
    type=click.FloatRange(min=0),
    default=RETRY_SECONDS,
    show_default=True,
    help="How long to retry when the manager does not answer; `inf` retries forever.",
)


def follow(work: "Callable[[Client], Coroutine[Any, Any, T]]", retry_seconds: float) -> T:
    """Run `work` with a client, and print outages of the manager to stderr.

    :param retry_seconds: as in `Client`
    :raises Failed: no manager answers
    :raises CallFailed: the manager answers with an error
    """
    from kaiju_tasks.cli.loop import run_loop
    from kaiju_tasks.client import Client
    from kaiju_tasks.errors import KaijuError, NotAManager, Unavailable

    url = manager_url()
    token = manager_token(url)

    async def run() -> T:
        async with Client(url, token, retry_seconds=retry_seconds) as client:
            return await work(client)

    _show_outages()
    try:
        return run_loop(run())
    except Unavailable as error:
        advice = SET_URL if isinstance(error, NotAManager) else START_ONE
        raise Failed(f"{sentence(str(error))} {advice}", NO_MANAGER, error) from error
    except KaijuError as error:
        raise CallFailed(error.code, error.message, error.data) from error


def _show_outages() -> None:
    logger = logging.getLogger("kaiju_tasks.client")
    logger.handlers = [_Echo()]
    logger.propagate = False


class _Echo(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        click.echo(record.getMessage(), err=True)

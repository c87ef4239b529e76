"""Runs executors as child processes of the manager, and restarts them when they exit.

Each child has a pipe as its stdin and exits when the pipe closes, so that no child survives even a
killed manager. Each child has its own session, so that Ctrl-C in a terminal reaches only the
manager, which then lets the children end their stages.
"""

import asyncio
import logging
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence

from kaiju_tasks.address import ALLOW_INSECURE_HTTP, TOKEN, TOKEN_FILE, is_private
from kaiju_tasks.manager.auth import Authenticator
from kaiju_tasks.rights import Kind
from kaiju_tasks.rights.globs import any_matches
from kaiju_tasks.settings import Settings, service_variables, setting_fields

__all__ = ["END_WITH_STDIN", "CannotStart", "Children", "child_environment"]

logger = logging.getLogger(__name__)

END_WITH_STDIN = "--end-with-stdin"
OWN = ("KAIJU_", "PG")
"""Variables of the manager and of its connections to PostgreSQL begin like this."""

USAGE_ERROR = 2
BACKOFF_SECONDS = 0.5
BACKOFF_MAX_SECONDS = 30.0
HEALTHY_SECONDS = 60.0
FLUSH_SECONDS = 8.0


class CannotStart(Exception):
    """A child found at its first start that its executor does not exist."""


class Children:
    """Keeps executors running.

    :param paths: the executors, each as `module:attribute`
    :param url: the URL of the manager
    :param auth: makes the token of the children, which only this process accepts, unless the
        settings name a file
    """

    def __init__(
        self, paths: Sequence[str], url: str, settings: Settings, auth: Authenticator
    ) -> None:
        self._paths = paths
        self._credential = _credential(settings.executor_token_file, auth)
        self._url = url
        # The address is one of this machine, whatever it looks like.
        self._reaching_manager = {} if is_private(url) else {ALLOW_INSECURE_HTTP: "true"}
        self._settings = settings
        self._running: dict[int, Process] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._stopping = False

    def start(self) -> None:
        """Start all children."""
        self._keepers = [
            asyncio.create_task(self._keep(number, path)) for number, path in enumerate(self._paths)
        ]

    async def failed(self) -> None:
        """Wait until a child cannot be started at all, otherwise forever.

        :raises CannotStart: the child has written the reason to stderr
        """
        if self._keepers:
            await asyncio.gather(*self._keepers)
        await asyncio.get_running_loop().create_future()

    async def stop(self) -> None:
        """Stop the children. Running stages get `shutdown_grace` seconds to end."""
        self._stopping = True
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        running = list(self._running.values())
        if running:
            grace = self._settings.shutdown_grace
            logger.info("running stages have %g s to end; a second signal ends the wait", grace)
        for process in running:
            _send(process, signal.SIGTERM)
        seconds = self._settings.shutdown_grace + FLUSH_SECONDS
        await asyncio.gather(*(_end(process, seconds) for process in running))

    def hurry(self) -> None:
        """Let the children release their tasks at once, while `stop` waits for them.

        The signal is another one than that of `stop`: two of the same number arrive as one if the
        child does not run between them (POSIX, signal(7)).
        """
        for process in self._running.values():
            _send(process, signal.SIGINT)

    async def _keep(self, number: int, path: str) -> None:
        loop = asyncio.get_running_loop()
        pause, first = BACKOFF_SECONDS, True
        while not self._stopping:
            began = loop.time()
            process = self._running[number] = await self._start(path)
            code = await process.wait()
            del self._running[number]
            if first and code == USAGE_ERROR:
                raise CannotStart(f"The executor {path} cannot be started.")
            if loop.time() - began > HEALTHY_SECONDS:
                pause = BACKOFF_SECONDS
            logger.warning(
                "executor %s exited (%s), will restart in %g s", path, _exit_text(code), pause
            )
            await asyncio.sleep(pause)
            pause, first = min(pause * 2, BACKOFF_MAX_SECONDS), False

    async def _start(self, path: str) -> Process:
        settings = self._settings
        command = [sys.executable, "-m", "kaiju_tasks", "executor", path, END_WITH_STDIN]
        options = {
            "manager": self._url,
            "kill-grace": settings.kill_grace,
            "shutdown-grace": settings.shutdown_grace,
            "log-level": settings.log_level,
            "log-format": settings.log_format,
        }
        command += [f"--{name}={value}" for name, value in options.items()]
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=PIPE,
            start_new_session=True,
            env={
                **child_environment(os.environ, settings.executor_env, self._credential),
                **self._reaching_manager,
            },
        )


def _credential(file: str, auth: Authenticator) -> dict[str, str]:
    """The variable with the token of the children, or with the file in which they find it."""
    if file:
        return {TOKEN_FILE: os.path.abspath(file)}
    return {TOKEN: auth.house_token(Kind.EXECUTOR, "serve")}


def child_environment(
    environ: Mapping[str, str], names: str, credential: Mapping[str, str]
) -> dict[str, str]:
    """The environment of an executor that the manager starts.

    The variables by which the manager reaches its database are the manager's own. An executor gets
    them only if they are named in full.

    :param environ: the environment of the manager
    :param names: globs of variables, separated by commas
    :param credential: the variable by which the executor gets its token
    """
    globs = [one for one in map(str.strip, names.split(",")) if one]
    ignored = {*service_variables(environ), TOKEN, TOKEN_FILE}
    kept = {
        name: text for name, text in environ.items() if name not in ignored and _passes(name, globs)
    }
    return {**kept, **credential}


def _passes(name: str, globs: Sequence[str]) -> bool:
    if not name.startswith(OWN) or name in globs:
        return any_matches(globs, name)
    return any(field.env == name and field.name != "db" for field in setting_fields().values())


async def _end(process: Process, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await process.wait()
    except TimeoutError:
        logger.warning("the executor with pid %d does not exit: killing it", process.pid)
        _send(process, signal.SIGKILL)
        await process.wait()


def _send(process: Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except ProcessLookupError:
        pass  # the process has already exited


def _exit_text(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    return f"killed by {signal.Signals(-code).name}"

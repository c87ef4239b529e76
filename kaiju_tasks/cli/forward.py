"""`--forward`: an executor that forwards its commands to a service."""

import unicodedata

from kaiju_tasks.address import read_url
from kaiju_tasks.cli.fail import USAGE, Failed
from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.executor.forward import ForwardExecutor
from kaiju_tasks.executor.registry import Executor
from kaiju_tasks.types import MANAGER_APP

__all__ = ["forwarded"]


def forwarded(url: str | None, app_name: str | None, default: str) -> list[Executor]:
    """Return the executor of `--forward` and `--app-name`, or an empty list without `--forward`.

    :param default: the stream if `--app-name` is not given
    :raises Failed: an option is invalid
    """
    if url is None:
        if app_name is not None:
            raise Failed(
                "--app-name needs --forward: an Executor has its stream in its app_name.", USAGE
            )
        return []
    return [ForwardExecutor(_stream(default if app_name is None else app_name), _service(url))]


def _stream(name: str) -> str:
    if name == MANAGER_APP:
        raise Failed(f"--app-name {name!r} is reserved. Choose another name.", USAGE)
    if not 1 <= len(name) <= 255 or any(unicodedata.category(c) == "Cc" for c in name):
        raise Failed(
            "--app-name must be text of 1 to 255 characters without control characters.", USAGE
        )
    return name


def _service(url: str) -> str:
    try:
        read_url(url, "--forward", shape="http://host:port/rpc", userinfo=True)
    except InvalidParams as error:
        raise Failed(f"{error}.", USAGE, error) from error
    return url

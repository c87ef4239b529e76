"""`--forward` and `--forward-rest`: an executor that forwards its commands to a service."""

import unicodedata
from pathlib import Path
from typing import Literal

from msgspec import Struct

from kaiju_tasks.address import read_url
from kaiju_tasks.cli.fail import USAGE, Failed
from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.executor.forward import ForwardExecutor
from kaiju_tasks.executor.forward.headers import read_header
from kaiju_tasks.executor.registry import Executor
from kaiju_tasks.types import MANAGER_APP

__all__ = ["ForwardOptions", "forwarded"]


class ForwardOptions(Struct, frozen=True):
    """The options of an executor that forwards.

    :param url: of `--forward`
    :param rest: of `--forward-rest`
    """

    url: str | None
    rest: str | None
    app_name: str | None
    headers: tuple[str, ...]
    methods: str | None
    callback: str | None


def forwarded(options: ForwardOptions, default: str) -> list[Executor]:
    """Return the executor of the options, or an empty list if none forwards.

    :param default: the stream if `--app-name` is not given
    :raises Failed: an option is invalid
    """
    if options.url is not None and options.rest is not None:
        raise Failed("Give --forward or --forward-rest, not both.", USAGE)
    url = options.rest if options.url is None else options.url
    if url is None:
        _refuse_others(options)
        return []
    option = "--forward" if options.rest is None else "--forward-rest"
    stream = _stream(default if options.app_name is None else options.app_name)
    try:
        shape = "http://host:port/rpc" if options.rest is None else "http://host:port/base"
        read_url(url, option, shape=shape, userinfo=True)
        headers = _headers(options.headers)
        return [
            ForwardExecutor(
                stream,
                url,
                rest=options.rest is not None,
                headers=headers,
                methods=_methods(options.methods),
                callback=_callback(options.callback),
            )
        ]
    except InvalidParams as error:
        raise Failed(f"{error}.", USAGE, error) from error


def _refuse_others(options: ForwardOptions) -> None:
    if options.app_name is not None:
        raise Failed(
            "--app-name needs --forward: an Executor has its stream in its app_name.", USAGE
        )
    if options.headers:
        raise Failed("--header needs --forward or --forward-rest.", USAGE)
    if options.methods is not None:
        raise Failed("--methods needs --forward or --forward-rest.", USAGE)
    if options.callback is not None:
        raise Failed("--callback needs --forward or --forward-rest.", USAGE)


def _headers(texts: tuple[str, ...]) -> dict[str, str | Path]:
    headers: dict[str, str | Path] = {}
    for text in texts:
        name, source = read_header(text)
        if name.lower() in {known.lower() for known in headers}:
            raise Failed(f"--header {name} is given twice. Give it once.", USAGE)
        headers[name] = source
    return headers


def _methods(text: str | None) -> Path | Literal["any"] | None:
    if text is None:
        return None
    return "any" if text == "any" else Path(text)


def _callback(url: str | None) -> str | None:
    if url is not None:
        read_url(url, "--callback", schemes=("http",))
    return url


def _stream(name: str) -> str:
    if name == MANAGER_APP:
        raise Failed(f"--app-name {name!r} is reserved. Choose another name.", USAGE)
    if not 1 <= len(name) <= 255 or any(unicodedata.category(c) == "Cc" for c in name):
        raise Failed(
            "--app-name must be text of 1 to 255 characters without control characters.", USAGE
        )
    return name

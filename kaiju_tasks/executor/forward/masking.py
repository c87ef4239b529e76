"""Removes secrets from what a service sends, before it is shown or stored."""

import re
from collections.abc import Iterable
from typing import Any

__all__ = ["EXCERPT_CHARACTERS", "excerpt", "masked"]

EXCERPT_CHARACTERS = 200
_UNPRINTED = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029]+")


def masked(value: Any, secrets: Iterable[str]) -> Any:
    """Replace secrets by `***` in each text of a JSON value.

    :param value: a JSON value
    :param secrets: the longest first
    """
    secrets = list(secrets)
    if not secrets:
        return value
    match value:
        case str():
            for secret in secrets:
                value = value.replace(secret, "***")
            return value
        case list():
            return [masked(item, secrets) for item in value]
        case dict():
            return {masked(key, secrets): masked(item, secrets) for key, item in value.items()}
        case _:
            return value


def excerpt(body: bytes, secrets: Iterable[str]) -> str:
    """Return the beginning of a body as one line, without secrets.

    :param body: at least so much of it that no secret is cut at the end of the excerpt
    """
    text = body.decode("utf-8", "replace")
    line = _UNPRINTED.sub(" ", masked(text, secrets)).strip()
    if len(line) <= EXCERPT_CHARACTERS:
        return line
    return f"{line[:EXCERPT_CHARACTERS]}…"

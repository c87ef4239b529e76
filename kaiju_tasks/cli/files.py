"""Tasks from files and arguments."""

import json
import sys
from pathlib import Path
from typing import Any

from kaiju_tasks.cli.fail import USAGE, Failed

__all__ = ["read_json", "read_pairs", "read_task"]


def read_task(source: str) -> dict[str, Any]:
    """Read a task from a JSON or YAML file.

    :param source: its path; `-` is standard input
    :raises Failed: it cannot be read, or is no task
    """
    text = _text(source)
    value = _parsed(source, text)
    if isinstance(value, list):
        value = {"commands": value}
    if not isinstance(value, dict):
        raise Failed(f"{source} must hold a task: an object with `commands`.", USAGE)
    return value


def read_json(text: str, what: str) -> Any:
    """Read JSON; what is none is taken as text.

    :param what: names the argument in the error
    :raises Failed: it cannot be sent: NaN, for example
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except _NoJson as error:
        raise Failed(f"{what}: {error}.", USAGE) from error
    except (ValueError, RecursionError):
        return text


def read_pairs(pairs: tuple[str, ...], option: str) -> list[tuple[str, Any]]:
    """Read `name=json` arguments.

    :raises Failed: one has no `=`
    """
    read = []
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise Failed(f"{option} must read name=json, not {pair!r:.100}.", USAGE)
        read.append((name, read_json(text, f"{option} {name}")))
    return read


def _text(source: str) -> str:
    try:
        data = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
        return data.decode("utf-8-sig")
    except OSError as error:
        reason = error.strerror or str(error)
        raise Failed(f"{source} cannot be read: {reason}.", USAGE) from error
    except (UnicodeDecodeError, ValueError) as error:
        raise Failed(f"{source} must be UTF-8 text: {error}.", USAGE) from error


def _parsed(source: str, text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        if text.lstrip()[:1] in ("{", "[") or source.endswith(".json"):
            raise Failed(f"{source} is not JSON: {error}.", USAGE) from error
    import yaml

    try:
        value = yaml.safe_load(text)
        return json.loads(json.dumps(value, allow_nan=False))
    except yaml.YAMLError as error:
        raise Failed(f"{source} is neither JSON nor YAML: {_line(error)}.", USAGE) from error
    except (TypeError, ValueError, RecursionError) as error:
        raise Failed(f"{source} holds what JSON has no word for: {error}.", USAGE) from error


class _NoJson(ValueError):
    pass


def _refuse_constant(name: str) -> Any:
    raise _NoJson(f"{name} is no JSON number")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())

"""Tasks from files and arguments."""

import json
import sys
from pathlib import Path
from typing import Any, ClassVar

from kaiju_tasks.cli.fail import USAGE, Failed

__all__ = ["read_fields", "read_json", "read_pairs", "read_task", "read_time"]

TIMESTAMP = "tag:yaml.org,2002:timestamp"


def read_task(source: str) -> dict[str, Any]:
    """Read a task from a JSON or YAML file.

    :param source: path of the file; `-` is standard input
    :raises Failed: the file cannot be read, or does not hold a task
    """
    text = _text(source)
    value = _parsed(source, text)
    if isinstance(value, list):
        value = {"commands": value}
    if not isinstance(value, dict):
        raise Failed(
            f"{source} must hold a task: an object with `commands`, or a list of commands.", USAGE
        )
    return value


def read_json(text: str, what: str, *, numbers: bool = True) -> Any:
    """Parse JSON. Text that is not JSON is returned unchanged.

    :param what: name of the argument, for the error
    :param numbers: False to return numbers as the text that was given
    :raises Failed: the value cannot be sent as JSON, for example NaN
    """
    try:
        if not numbers:
            return json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
        return json.loads(text, parse_constant=_refuse_constant)
    except _NoJson as error:
        raise Failed(f"{what}: {error}.", USAGE) from error
    except (ValueError, RecursionError):
        return text


def read_pairs(pairs: tuple[str, ...], option: str) -> list[tuple[str, Any]]:
    """Parse `NAME=JSON` arguments to (name, value).

    :raises Failed: an argument has no `=`
    """
    read = []
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise Failed(f"{option} must have the form NAME=JSON, not {pair!r:.100}.", USAGE)
        read.append((name, read_json(text, f"{option} {name}")))
    return read


def read_fields(pairs: tuple[str, ...], option: str) -> dict[str, Any]:
    """Parse `NAME=JSON` arguments whose names all differ.

    :raises Failed: an argument has no `=`, or two have the same name
    """
    fields: dict[str, Any] = {}
    for name, value in read_pairs(pairs, option):
        if name in fields:
            raise Failed(f"{option} {name} is given twice. Give it once.", USAGE)
        fields[name] = value
    return fields


def read_time(text: str) -> float | str:
    """Convert a time for the API: UNIX seconds, or ISO-8601 text."""
    try:
        return float(text)
    except ValueError:
        return text


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
        value = yaml.load(text, Loader=_loader(yaml))
        return json.loads(json.dumps(value, allow_nan=False))
    except yaml.YAMLError as error:
        raise Failed(
            f"{source} is neither JSON nor YAML: {_yaml_problem(error)}.", USAGE
        ) from error
    except (TypeError, ValueError, RecursionError) as error:
        raise Failed(
            f"{source} holds a value that JSON cannot represent: {error}.", USAGE
        ) from error


class _NoJson(ValueError):
    pass


def _refuse_constant(name: str) -> Any:
    raise _NoJson(f"{name} is not a JSON number")


def _loader(yaml: Any) -> Any:
    """Return a safe loader that leaves timestamps as text: JSON has no type for them."""

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {
            first: [(tag, pattern) for tag, pattern in resolvers if tag != TIMESTAMP]
            for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    return Loader


def _yaml_problem(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return " ".join(str(error).split())
    problem = " ".join(f"{getattr(error, 'problem', None) or 'it cannot be read'}".split())
    context = str(getattr(error, "context", None) or "")
    if "alias" in context or "cannot start any token" in problem:
        problem += "; put text that begins with * & @ ` % or a tab in quotes"
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}"

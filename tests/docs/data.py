"""What blocks of data must be: JSON, YAML, TOML, INI that can be read, tasks that can be created,
requests that are answered."""

import configparser
import json
import tomllib
from collections.abc import Iterator
from typing import Any

import aiohttp
import yaml

from kaiju_tasks import Client
from tests.docs.blocks import Block

MANAGERS = "executor."
"""The prefix of what a manager sends."""


def read(block: Block, text: str) -> list[Any]:
    """What stands in a block: one value, or several one behind the other."""
    if block.language == "json":
        return list(values_of(text))
    if block.language == "yaml":
        return [yaml.safe_load(text)]
    if block.language == "toml":
        return [tomllib.loads(text)]
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment]
    parser.read_string(text)
    return [{name: dict(section) for name, section in parser.items()}]


async def send(values: list[Any], client: Client, wire: aiohttp.ClientWebSocketResponse) -> None:
    """Have tasks validated, conditions read and requests answered.

    :raises AssertionError: a manager refuses one, or answers in another shape than the next value
    """
    for value, following in zip(values, [*values[1:], None], strict=True):
        if not isinstance(value, dict):
            continue
        if "commands" in value:
            found = await client.tasks.validate(value)
            assert found["errors"] == [], value
        if set(value) == {"conditions"}:
            await client.tasks.list(**value)
        if "id" in value and "method" in value and not value["method"].startswith(MANAGERS):
            await _ask(value, following, wire)


async def _ask(request: dict[str, Any], shown: Any, wire: aiohttp.ClientWebSocketResponse) -> None:
    await wire.send_json(request)
    while (answer := await wire.receive_json(timeout=30)).get("id") != request["id"]:
        pass
    if isinstance(shown, dict) and "method" not in shown:
        assert set(answer) == set(shown), answer
        assert set(answer.get("result", {})) >= set(shown.get("result", {})), answer
    else:
        assert "result" in answer, answer


def values_of(text: str) -> Iterator[Any]:
    """JSON values that stand one behind the other."""
    decoder = json.JSONDecoder()
    while text := text.strip():
        value, end = decoder.raw_decode(text)
        yield value
        text = text[end:]

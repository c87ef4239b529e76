"""The commands that executors have announced, as they are stored."""

import msgspec
from msgspec import Raw, Struct

NO_COMMANDS = Raw(b"[]")


class Announced(Struct):
    """A command that an executor has announced; `params` and `result` are JSON Schemas.

    :param app_name: the stream that has the command; None for all streams of the executor
    """

    method: str
    params: Raw = Raw(b"{}")
    doc: str = ""
    app_name: str | None = None
    result: Raw = Raw(b"{}")
    examples: Raw = Raw(b"[]")


read_commands = msgspec.json.Decoder(list[Announced]).decode
"""Reads the commands of an executor.

:raises msgspec.DecodeError: they are not such a list
"""

"""Keys of concurrency and uniqueness, filled when a task is defined."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from kaiju_tasks.define.raised import raised
from kaiju_tasks.errors import InvalidParams, TemplateError
from kaiju_tasks.lifecycle import Command, slot_key
from kaiju_tasks.lifecycle.slot_keys import ARGUMENTS, TASK
from kaiju_tasks.templates import compile_template
from kaiju_tasks.types import Concurrency, NewTask, Unique

MAX_KEY = 1000
MAX_INDEXED_BYTES = 500
"""A filled key is in an index with the name of a stream and the id of a task, at most 1,020 bytes
each. PostgreSQL allows 2,704 bytes for an index entry."""
SHOWN_BYTES = 400
_encode = msgspec.json.Encoder(order="deterministic").encode


class Keys:
    """Fills the keys of one task.

    :param prefix: path of the task in the client's data
    """

    def __init__(
        self,
        task_id: str,
        app_name: str,
        kws: Mapping[str, Any],
        user_id: str | None,
        prefix: str,
    ) -> None:
        self._data = {"id": task_id, "app_name": app_name, "kws": kws}
        self._user_id = user_id
        self._prefix = prefix

    def of_slot(self, concurrency: Concurrency | None, commands: list[Command]) -> str | None:
        """:raises InvalidParams: the key cannot be filled"""
        if concurrency is None:
            return None
        kind, value = self._read(concurrency.key, commands, "concurrency")
        return _indexed(slot_key(self._user_id, kind, _indexed(value)))

    def of_unique(self, unique: Unique | None, commands: list[Command]) -> str | None:
        """Return the key with its kind and the task's owner, so that owners do not share keys.

        :raises InvalidParams: the key cannot be filled
        """
        if unique is None:
            return None
        kind, value = self._read(unique.key, commands, "unique")
        return _indexed(_encode([self._user_id, kind, value]).decode())

    def _read(self, key: str, commands: list[Command], name: str) -> tuple[str, str]:
        """The kind of a key, and what tasks with the same key share."""
        app_name = self._data["app_name"]
        if key == TASK:
            return key, _digest([app_name, [command.method for command in commands]])
        if key == ARGUMENTS:
            plain = msgspec.json.decode(_encode(commands))
            return key, _digest([app_name, plain, self._data["kws"]])
        return "key", self._filled(key, f"{self._prefix}.{name}.key")

    def _filled(self, key: str, field: str) -> str:
        try:
            value = compile_template(key, field=field).fill(self._data)
        except TemplateError as exc:
            raise InvalidParams(str(exc), **{**exc.data, "field": field}) from None
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or not 1 <= len(value) <= MAX_KEY or "\0" in value:
            raise InvalidParams(
                f"`{field}` must be filled to a text of 1 to {MAX_KEY} characters", field=field
            )
        return value.encode("utf-8", "replace").decode()


def _indexed(key: str) -> str:
    """Return the key; for a long key, its beginning and a digest of the whole key."""
    encoded = key.encode()
    if len(encoded) <= MAX_INDEXED_BYTES:
        return key
    shown = encoded[:SHOWN_BYTES].decode("utf-8", "ignore")
    return f"{shown}… {hashlib.sha256(encoded).hexdigest()}"


def key_problems(keyed: Concurrency | Unique | None, field: str) -> Iterator[InvalidParams]:
    """Check whether a key can be filled.

    :param field: path of `concurrency` or `unique`
    """
    if keyed is not None:
        for problem in raised(compile_template, keyed.key, field=f"{field}.key"):
            yield InvalidParams(str(problem), **{**problem.data, "field": f"{field}.key"})


def without_keys(new: NewTask, prefix: str) -> NewTask:
    """Return a task whose keys cannot be filled yet, without its keys.

    :raises InvalidParams: a key is malformed
    """
    for name in ("concurrency", "unique"):
        for problem in key_problems(getattr(new, name), f"{prefix}.{name}"):
            raise problem
    return msgspec.structs.replace(new, concurrency=None, unique=None)


def _digest(value: Any) -> str:
    return hashlib.sha256(_encode(value)).hexdigest()

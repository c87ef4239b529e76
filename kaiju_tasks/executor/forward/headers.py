"""Reads the headers that are sent with each call, from text, the environment or files."""

import json
import logging
import os
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from pathlib import Path

from yarl import URL

from kaiju_tasks.errors import InvalidParams

__all__ = ["Headers", "read_header"]

logger = logging.getLogger("kaiju_tasks.executor")

VALUE_BYTES_MAX = 16 * 1024
SECRET_CHARACTERS_MIN = 4
"""Shorter values are not masked: they would be found everywhere."""
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OWN = frozenset(
    {
        "accept",
        "accept-encoding",
        "callback",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "correlation-id",
        "deadline",
        "idempotency-key",
        "timeout",
        "transfer-encoding",
    }
)
_CREDENTIALS = frozenset({"authorization", "cookie", "proxy-authorization"})

Source = str | Path
Stamp = tuple[int, int, int]


def read_header(text: str, option: str = "--header") -> tuple[str, Source]:
    """Read `NAME=@FILE`, `NAME=env:VARIABLE` or `NAME=VALUE`.

    :param option: name of the option, for the error
    :returns: the name, and the value or the path of the file that contains it
    :raises InvalidParams: the form is wrong, the variable is not set, or a credential is given as
        text, which every user of the machine sees in the list of processes
    """
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InvalidParams(
            f"{option} must have the form NAME=@FILE, NAME=env:VARIABLE or NAME=VALUE", field=option
        )
    if value.startswith("@"):
        return name, Path(value[1:])
    if value.startswith("env:"):
        variable = value.removeprefix("env:")
        if variable not in os.environ:
            raise InvalidParams(
                f"{option} {name}: the environment has no variable {variable}", field=option
            )
        return name, os.environ[variable]
    if name.lower() in _CREDENTIALS:
        raise InvalidParams(
            f"{option} {name}: do not write a credential into the command, where every user of the "
            f"machine sees it: use {name}=@FILE or {name}=env:VARIABLE",
            field=option,
        )
    return name, value


class Headers:
    """The headers of the operator of the executor. Files are read again when they change.

    :param sources: the value of each header, or the path of the file that contains it
    :param url: its user name and password become `Authorization: Basic`
    :raises InvalidParams: a name or a value is not valid, or a file cannot be read; the error does
        not contain the value
    """

    def __init__(self, sources: Mapping[str, Source], url: URL) -> None:
        self._fixed = _basic(url)
        self._files: dict[str, _File] = {}
        self._secrets: set[str] = set()
        if url.password:
            self._keep_secret(url.password)
        for value in self._fixed.values():
            self._keep_secret(value)
        for name, source in sources.items():
            _check_name(name)
            if isinstance(source, Path):
                self._files[name] = _File(name, source)
            else:
                _check_value(name, source)
                self._fixed[name] = source
                self._keep_secret(source)
        self.values()

    def values(self) -> dict[str, str]:
        """The headers as they are now."""
        found = dict(self._fixed)
        for name, file in self._files.items():
            found[name] = file.value()
            self._keep_secret(found[name])
        return found

    def secrets(self) -> Iterable[str]:
        """The texts that must not appear in messages, the longest first. Earlier values of a file
        are among them, because they may still be valid."""
        return sorted(self._secrets, key=len, reverse=True)

    def _keep_secret(self, value: str) -> None:
        for text in (value, *value.split()):
            if len(text) >= SECRET_CHARACTERS_MIN and text.lower() not in ("basic", "bearer"):
                self._secrets |= {text, json.dumps(text)[1:-1]}


class _File:
    """A header whose value is the content of a file."""

    def __init__(self, name: str, path: Path) -> None:
        self._name = name
        self._path = path
        self._stamp: Stamp | None = None
        self._value = ""
        self._problem = ""
        self._read()

    def value(self) -> str:
        try:
            self._read()
        except InvalidParams as error:
            if str(error) != self._problem:
                logger.warning("%s; the previous value is still used", error)
            self._problem = str(error)
        else:
            self._problem = ""
        return self._value

    def _read(self) -> None:
        try:
            status = os.stat(self._path)
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if stamp == self._stamp:
                return
            with self._path.open("rb") as file:
                value = file.read(VALUE_BYTES_MAX + 1).decode("ascii").strip()
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise self._wrong(f"{self._path} cannot be read: {reason}") from error
        except ValueError:
            raise self._wrong(f"{self._path} must contain ASCII characters only") from None
        if len(value) > VALUE_BYTES_MAX:
            raise self._wrong(f"{self._path} has more than {VALUE_BYTES_MAX:,} bytes")
        _check_value(self._name, value)
        self._value, self._stamp = value, stamp

    def _wrong(self, problem: str) -> InvalidParams:
        return InvalidParams(f"the header {self._name}: {problem}", field="headers")


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidParams(f"{name!r:.100} is not the name of an HTTP header", field="headers")
    if name.lower() in _OWN:
        raise InvalidParams(f"the header {name} is set by the executor", field="headers")


def _check_value(name: str, value: str) -> None:
    if not value.isascii() or any(not " " <= character <= "~" for character in value):
        raise InvalidParams(
            f"the header {name} must have printable ASCII characters in one line", field="headers"
        )


def _basic(url: URL) -> dict[str, str]:
    if url.user is None and url.password is None:
        return {}
    credentials = f"{url.user or ''}:{url.password or ''}".encode()
    return {"Authorization": f"Basic {b64encode(credentials).decode()}"}

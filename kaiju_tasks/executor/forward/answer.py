"""Describes the answer of a service to one request, and reads it within bounds."""

from codecs import BOM_UTF8
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import msgspec
from msgspec import Struct

from kaiju_tasks.executor.failures import ResultTooLarge

__all__ = [
    "CHUNK_BYTES",
    "Answer",
    "NotJson",
    "answer_limit",
    "parse_retry_after",
    "read_body",
    "too_large",
]

CHUNK_BYTES = 64 * 1024
ENVELOPE_BYTES = 64 * 1024
ESCAPED = 2
"""A result may have twice the bytes in the answer that it has when it is reported: the service may
write escapes and spaces."""
RETRY_AFTER_MAX = 3600.0


class NotJson(Exception):
    """The body is not JSON."""


class Answer(Struct, frozen=True):
    """One answer, or the last message of one that was sent in parts.

    :param content_type: without parameters, in lower case; empty if there is none
    :param part: whether `body` is a message of an answer that was sent in parts
    """

    status: int
    content_type: str
    body: bytes
    part: bool = False

    @property
    def good(self) -> bool:
        """Whether the status is one of success."""
        return 200 <= self.status < 300

    @property
    def is_json(self) -> bool:
        """Whether the body is declared as JSON."""
        kind = self.content_type
        return self.part or kind == "application/json" or kind.endswith("+json")

    def value(self) -> Any:
        """The body as a JSON value. A byte order mark before it is ignored.

        :raises NotJson: it is not JSON
        """
        try:
            return msgspec.json.decode(self.body.removeprefix(BOM_UTF8))
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise NotJson(str(error)) from None


def answer_limit(max_result_bytes: int) -> int:
    """The most bytes of an answer, or of one message of an answer in parts."""
    return ESCAPED * max_result_bytes + ENVELOPE_BYTES


async def read_body(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """Read a body. What is above the limit is not read.

    :raises ResultTooLarge: it has more than `limit` bytes
    """
    parts, size = [], 0
    async for part in response.content.iter_chunked(CHUNK_BYTES):
        size += len(part)
        if size > limit:
            response.close()
            raise too_large(limit)
        parts.append(part)
    return b"".join(parts)


def too_large(limit: int) -> ResultTooLarge:
    """The failure of an answer that exceeds the limit."""
    return ResultTooLarge(f"the answer of the service has more than {limit:,} bytes")


def parse_retry_after(text: str | None, now: float) -> float | None:
    """Read the header `Retry-After`: seconds, or a date.

    :param now: UNIX seconds
    :returns: seconds, from 0 and at most an hour; None if there are none
    """
    if text is None:
        return None
    text = text.strip()
    try:
        if text.isascii() and text.isdigit():
            seconds = float(text)
        else:
            moment = parsedate_to_datetime(text)
            if moment.tzinfo is None:  # HTTP dates are in UTC, whatever the zone of this machine
                moment = moment.replace(tzinfo=UTC)
            seconds = moment.timestamp() - now
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, seconds), RETRY_AFTER_MAX)

"""Retries: whether a failed stage is retried, and after which delay."""

import zlib
from typing import Any

from kaiju_tasks.lifecycle.definition import Definition
from kaiju_tasks.lifecycle.lineage import WAIT_SECONDS
from kaiju_tasks.lifecycle.state import Row
from kaiju_tasks.types import NEVER_RETRIED, Limit

BACKOFF_JITTER = 0.1
"""The most of a delay that is added to it. It is less than the growth of the next delay, so that no
retry comes sooner than the one before."""
BACKOFF_BASE_SECONDS = 1.0
"""The first delay of a backoff without a `retry_delay`: multiples of 0 would never grow."""

FREE_RETURNS = 2
RETURN_SECONDS_MAX = 10.0


def return_delay(fruitless: int) -> float:
    """Seconds before a task that was given back without progress is queued again.

    :param fruitless: how often in a row, from 1
    """
    if fruitless <= FREE_RETURNS:
        return 0.0
    return min(RETURN_SECONDS_MAX, 2.0 ** min(fruitless - FREE_RETURNS - 1, 30))


def is_retried(row: Row, definition: Definition, error_type: str) -> bool:
    """Whether a stage that failed with this error is retried."""
    return error_type not in NEVER_RETRIED and row.retries < definition.max_retries


def retry_delay(definition: Definition, job_id: str, retries: int) -> float:
    """Seconds before a retry. The jitter is derived from the run, so repeated calls agree.

    :param retries: number of the retry, from 1
    """
    cap = definition.retry_max_delay
    cap = float(Limit.MAX_WAIT) if cap is None else cap
    first = definition.retry_delay
    if definition.retry_backoff > 1 and not first:
        first = BACKOFF_BASE_SECONDS
    delay = min(cap, first * definition.retry_backoff ** (retries - 1))
    if definition.retry_backoff > 1:
        share = zlib.crc32(f"{job_id}/{retries}".encode()) / 2**32
        jitter = min(BACKOFF_JITTER, definition.retry_backoff - 1)
        delay = min(cap, delay * (1 + jitter * share))
    return delay


def asked_delay(data: Any, name: str = "seconds") -> float:
    """Seconds after which a command has asked to be run again.

    :param data: the data of its error
    :param name: of the value in the data
    """
    seconds = data.get(name) if isinstance(data, dict) else None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return WAIT_SECONDS
    return min(max(WAIT_SECONDS, seconds), float(Limit.MAX_WAIT))

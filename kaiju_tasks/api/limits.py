"""The limits of the messages of clients."""

from kaiju_tasks.rpc import Limits
from kaiju_tasks.settings import Settings
from kaiju_tasks.store.query import READ_BYTES_MAX

ENVELOPE_BYTES = 2 * 1024 * 1024
"""What an answer may have beside what is read for it: names of fields, and rows without data."""


def limits_of(settings: Settings) -> Limits:
    """The limits of the messages of clients."""
    return Limits(
        max_body_bytes=settings.max_body_bytes,
        max_result_bytes=settings.max_result_bytes,
        max_batch=settings.max_batch,
        max_depth=settings.max_json_depth,
        max_answer_bytes=max(READ_BYTES_MAX, settings.max_run_results_bytes) + ENVELOPE_BYTES,
    )

"""Limits the size of the frames to and from executors."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from kaiju_tasks.protocol import DEFAULT_FRAME_BYTES
from kaiju_tasks.settings import Settings

FRAME_BYTES = 1024 * 1024
"""The maximum size of a frame with several items. One item may be larger."""

REPORT_BYTES = 64 * 1024
"""The maximum size of a report without its result."""

T = TypeVar("T")


def largest_frame(settings: Settings) -> int:
    """The maximum size of a frame from an executor, in bytes."""
    largest_report = settings.max_result_bytes + REPORT_BYTES
    return max(DEFAULT_FRAME_BYTES, settings.max_body_bytes, largest_report)


def frames(items: Sequence[T], encode: Callable[[Sequence[T]], bytes]) -> list[bytes]:
    """Encode items in as few frames as the maximum size allows, roughly."""
    frame = encode(items)
    if len(frame) <= FRAME_BYTES or len(items) == 1:
        return [frame]
    middle = len(items) // 2
    return frames(items[:middle], encode) + frames(items[middle:], encode)

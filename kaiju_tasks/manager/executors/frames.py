"""Divides what is sent to an executor into frames of bounded size."""

from collections.abc import Callable, Sequence
from typing import TypeVar

FRAME_BYTES = 1024 * 1024
"""The maximum size of a frame with several items. One item may be larger."""

T = TypeVar("T")


def frames(items: Sequence[T], encode: Callable[[Sequence[T]], bytes]) -> list[bytes]:
    """Encode items in as few frames as the maximum size allows, roughly."""
    frame = encode(items)
    if len(frame) <= FRAME_BYTES or len(items) == 1:
        return [frame]
    middle = len(items) // 2
    return frames(items[:middle], encode) + frames(items[middle:], encode)

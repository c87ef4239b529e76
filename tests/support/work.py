"""Work is counted, not timed: a busy machine changes no count."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def at_most_lines(limit: int) -> Iterator[None]:
    """Let what is called inside run so many lines of Python; each round of a loop counts.

    What happens inside one call of C code (a regular expression, a decoder) is not seen.

    :raises AssertionError: as soon as there are more, so that even endless work ends here
    """
    lines = 0

    def traced(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        if lines > limit:
            raise AssertionError(f"this runs more than {limit} lines of Python")
        return traced

    before = sys.gettrace()
    sys.settrace(traced)
    try:
        yield
    finally:
        sys.settrace(before)

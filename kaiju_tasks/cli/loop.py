"""Running the event loop, with uvloop if it is installed."""

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["run_loop"]

GC_THRESHOLDS = (50_000, 20, 50)
"""A batch creates thousands of short-lived structs without cycles: collect cycles less often."""

T = TypeVar("T")


def run_loop(main: Coroutine[Any, Any, T]) -> T:
    """Run the main coroutine of the process."""
    gc.set_threshold(*GC_THRESHOLDS)
    with asyncio.Runner(loop_factory=_factory()) as runner:
        return runner.run(main)


def _factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop

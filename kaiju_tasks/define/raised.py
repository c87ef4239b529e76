"""Conversion of raised errors to problems, so that the checks can continue."""

from collections.abc import Callable, Iterator
from typing import Any

from kaiju_tasks.errors import InvalidParams


def raised(check: Callable[..., object], *args: Any, **kwargs: Any) -> Iterator[InvalidParams]:
    """Collect the problem that a check raises, if it raises one."""
    try:
        check(*args, **kwargs)
    except InvalidParams as problem:
        yield problem

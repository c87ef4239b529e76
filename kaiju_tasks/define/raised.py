"""What a check that raises has to say, for those that look on."""

from collections.abc import Callable, Iterator
from typing import Any

from kaiju_tasks.errors import InvalidParams


def raised(check: Callable[..., object], *args: Any, **kwargs: Any) -> Iterator[InvalidParams]:
    """The one problem that a check raises, or none."""
    try:
        check(*args, **kwargs)
    except InvalidParams as problem:
        yield problem

"""Why an operator acts."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

__all__ = ["read_reason", "reason_option"]

F = TypeVar("F", bound=Callable[..., Any])

reason_option: Callable[[F], F] = click.option(
    "--reason", help="Why, for people; it is kept in the audit."
)


def read_reason(reason: str | None) -> dict[str, str]:
    """Return the parameters of a call with a reason."""
    return {} if reason is None else {"reason": reason}

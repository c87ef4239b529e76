"""One condition of a query."""

from typing import Any

from msgspec import Struct

__all__ = ["Condition"]


class Condition(Struct, frozen=True):
    """One condition of a query. All conditions of a query must hold.

    :param op: `eq`, `ne`, `in`, `gt`, `ge`, `lt`, `le`, `like` or `glob`. `eq` with None is IS
        NULL. `ne` is the negation of `eq`: null differs from every value. `in` takes a list, which
        may contain None. `like` is case-sensitive; its wildcards are `%` and `_`, escaped by a
        backslash. `glob` takes a list of globs (`kaiju_tasks.rights`), of which one must match.
    """

    column: str
    op: str
    value: Any

"""Lets statements fail for whose types asyncpg would ask the server, on each new connection."""

from typing import Any, NoReturn

import asyncpg
import pytest

__all__ = ["only_known_types"]


def only_known_types(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse parameters and columns of types such as `int[]`: a query of their definition takes
    longer than most statements. `columns_of` and `array_literal` send them as text."""
    monkeypatch.setattr(asyncpg.Connection, "_introspect_types", _refuse)


async def _refuse(connection: Any, types: Any, timeout: Any) -> NoReturn:
    raise AssertionError(f"asyncpg would ask the server for the types {sorted(types)}")

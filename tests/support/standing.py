"""The clock of the quotas, which a test moves."""

import pytest

from kaiju_tasks.manager.writing import accounts

__all__ = ["Standing", "stand_still"]


class Standing:
    """A clock that stands still.

    :ivar now: seconds; a test moves it
    """

    now = 1000.0


def stand_still(monkeypatch: pytest.MonkeyPatch) -> Standing:
    """Let the quotas of principals read this clock."""
    clock = Standing()
    monkeypatch.setattr(accounts, "_now", lambda: clock.now)
    return clock

"""Executors that the kit starts import the package of this checkout."""

import pytest

from tests.support.processes import ROOT


@pytest.fixture(autouse=True)
def checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

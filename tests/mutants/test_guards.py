"""The guards are still where the list says; `make mutants` removes each and runs its tests."""

import pytest

from tests.mutants.__main__ import ROOT
from tests.mutants.guards import GUARDS, Guard


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_every_guard_is_there_once_and_has_tests(guard: Guard) -> None:
    assert (ROOT / "kaiju_tasks" / guard.path).read_text().count(guard.text) == 1
    assert guard.without != guard.text
    assert all((ROOT / path).exists() for path in guard.tests)


def test_every_guard_has_its_own_name() -> None:
    assert len({guard.name for guard in GUARDS}) == len(GUARDS)

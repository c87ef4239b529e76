"""Tokens of ended leases are remembered for a while."""

from kaiju_tasks.executor.recent import Recent
from tests.executor.fakes import FakeClock


def token(number: int) -> tuple[str, str, int, str]:
    return "task", "job", number, "nonce"


def test_a_token_is_forgotten_after_its_time() -> None:
    clock = FakeClock()
    recent = Recent(clock, seconds=300.0)
    recent.add(token(1))
    clock.now += 200.0
    recent.add(token(2))
    recent.add(token(1))  # its time begins again
    clock.now += 250.0
    assert token(1) in recent
    clock.now += 50.0
    assert token(1) not in recent
    recent.add(token(3))
    assert len(recent) == 1


def test_the_oldest_tokens_are_forgotten_first_when_there_are_too_many() -> None:
    recent = Recent(FakeClock(), limit=2)
    for number in (1, 2, 1, 3):
        recent.add(token(number))
    assert [token(number) in recent for number in (1, 2, 3)] == [True, False, True]

"""Addresses that present wrong tokens."""

import pytest

from kaiju_tasks.server.failures import FAILURES_MAX, REMOTES_MAX, WINDOW_SECONDS, Failures


def failed(failures: Failures, remote: str, times: int, now: float = 0.0) -> None:
    for _ in range(times):
        failures.failed(remote, now)


def test_an_address_is_refused_after_its_failures_until_the_window_ends() -> None:
    failures = Failures()
    failed(failures, "10.0.0.1", FAILURES_MAX - 1)
    assert failures.seconds_left("10.0.0.1", 0.0) == 0.0
    failed(failures, "10.0.0.1", 1, 20.0)
    assert failures.seconds_left("10.0.0.1", 20.0) == WINDOW_SECONDS - 20.0
    assert failures.seconds_left("10.0.0.1", WINDOW_SECONDS) == 0.0
    failed(failures, "10.0.0.1", FAILURES_MAX - 1, WINDOW_SECONDS)
    assert failures.seconds_left("10.0.0.1", WINDOW_SECONDS) == 0.0


def test_others_do_not_suffer() -> None:
    failures = Failures()
    failed(failures, "10.0.0.1", FAILURES_MAX)
    assert failures.seconds_left("10.0.0.2", 1.0) == 0.0
    assert failures.seconds_left(None, 1.0) == 0.0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("fe80::1%eth0", "fe80::2", True),
        ("unix", "unix", True),
    ],
)
def test_an_ipv6_network_is_one_address(one: str, other: str, same: bool) -> None:
    failures = Failures()
    failed(failures, one, FAILURES_MAX)
    assert (failures.seconds_left(other, 0.0) > 0) is same


def test_the_memory_is_bounded() -> None:
    failures = Failures()
    for number in range(REMOTES_MAX + 100):
        failures.failed(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 0.0)
    assert len(failures._counts) == REMOTES_MAX

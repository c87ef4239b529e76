"""To which addresses webhooks connect."""

from urllib.parse import urlsplit

import pytest

from kaiju_tasks.embedded import embedded
from kaiju_tasks.errors import SettingsError
from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.auth import TokenOrder, database_issuer
from kaiju_tasks.rights import Kind
from kaiju_tasks.settings import Settings
from kaiju_tasks.system_executor.egress import Egress, read_networks
from tests.system_executor.inprocess import Inside
from tests.system_executor.receiver import Receiver

TIMER = {"method": "_TIMER_", "params": {"timer": 0}}
LOOPBACK = ["127.0.0.1", "[::ffff:127.0.0.1]", "0.0.0.0", "localhost"]


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1",
        "169.254.169.254", "224.0.0.1", "255.255.255.255", "192.0.2.1",
        "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    assert not Egress((), lambda: False).allows(address)
    assert Egress((), lambda: True).allows(address)
    everything = read_networks("0.0.0.0/0, ::/0")
    assert Egress(everything, lambda: False).allows(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "::ffff:1.1.1.1", "2606:4700::1111"])
def test_public_addresses_are_allowed(address: str) -> None:
    assert Egress((), lambda: False).allows(address)


def test_networks_of_the_settings_are_allowed() -> None:
    egress = Egress(read_networks(" 10.1.0.0/16,::1 "), lambda: False)
    assert [egress.allows(one) for one in ("10.1.2.3", "::ffff:10.1.2.3", "::1")] == [True] * 3
    assert not egress.allows("10.2.0.1")
    for wrong in ("example.com", "10.1.0.1/16", "10.1.0.0/99"):
        with pytest.raises(SettingsError) as refused:
            read_networks(wrong)
        assert refused.value.field == "webhook_networks"


async def end_anonymous_access(manager: Manager) -> None:
    await database_issuer(manager.store).create(TokenOrder(principal="root", kind=Kind.ADMIN))
    manager.auth.changed()
    await manager.auth.start()


async def test_with_tokens_a_webhook_reaches_no_address_inside(
    inside: Inside, receiver: Receiver
) -> None:
    await end_anonymous_access(inside.manager)
    port = urlsplit(receiver.url).port
    for host in LOOPBACK:
        task = await inside.run(TIMER, webhook={"url": f"http://{host}:{port}/hook"})
        delivery = await inside.ended(f"webhook:{task['job_id']}")
        assert delivery["status"] == "FAILED", host
        assert "is not public" in delivery["error"]["message"], delivery["error"]
    assert receiver.calls == []


async def test_with_tokens_a_webhook_reaches_the_networks_of_the_settings(
    store_url: str, receiver: Receiver
) -> None:
    settings = Settings(db=store_url, poll_interval=0.2, webhook_networks="127.0.0.0/8")
    async with embedded(settings) as made:
        inside = Inside(made)
        await end_anonymous_access(inside.manager)
        task = await inside.run(TIMER, webhook={"url": receiver.url})
        delivery = await inside.ended(f"webhook:{task['job_id']}")
    assert delivery["result"][0].keys() == {"status", "seconds"}
    assert len(receiver.calls) == 1

"""While a service is away, no work is taken and no retry is used up."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from random import Random

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from kaiju_tasks.executor.forward.answer import parse_retry_after
from kaiju_tasks.executor.forward.availability import Availability
from kaiju_tasks.executor.offer import Offer
from kaiju_tasks.executor.rpc_failures import ServiceAway
from kaiju_tasks.protocol import ReportState
from tests.executor.fakes import Rig, assignment, command
from tests.executor.services import Service, rigged, serving_service
from tests.support.http_server import http_server
from tests.support.wait import wait_until


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with serving_service() as service:
        yield service


def announced(rig: Rig) -> int:
    """The capacity that the manager knows."""
    said = rig.manager.methods("manager.connect") + rig.manager.methods("manager.ping")
    return int(said[-1]["capacity"])


async def given_back(rig: Rig) -> None:
    """Push a task, which is given back as one that has not begun."""
    count = len(rig.manager.reports)
    rig.manager.run(assignment(command("m")))
    await wait_until(lambda: len(rig.manager.reports) > count, "the task is given back")
    report = rig.manager.reports[-1]
    assert (report.state, report.waited) == (ReportState.RELEASED, True)


@pytest.mark.parametrize("status", [429, 503])
async def test_a_service_that_takes_no_calls_gets_no_work_and_its_tasks_go_back(service, status):
    service.respond(status, "later", headers={"Retry-After": "3600"})
    service.there = False
    async with rigged(service) as rig:
        await given_back(rig)
        await wait_until(lambda: announced(rig) == 0, "the capacity is 0")
        calls = len(service.calls)
        await given_back(rig)
        assert len(service.calls) == calls


async def test_nobody_at_the_port_is_no_failure_and_work_goes_on_when_somebody_is():
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    service = Service()
    service.url = f"http://127.0.0.1:{port}/rpc"
    async with rigged(service) as rig:
        await given_back(rig)
        await wait_until(lambda: announced(rig) == 0, "the capacity is 0")
        async with http_server(service.handle, port=port):
            await wait_until(lambda: announced(rig) == 1, "one task is taken on trial")
            assert (service.probes, service.calls) == (1, [])
            rig.manager.run(assignment(command("m")))
            await wait_until(lambda: announced(rig) == 8, "the whole capacity is back")
            assert rig.manager.reports[-1].state is ReportState.FINISHED


@pytest.mark.parametrize("status", [502, 504])
async def test_a_proxy_that_has_lost_the_service_fails_the_stage_and_work_stops(service, status):
    service.respond(status, "bad gateway")
    async with rigged(service) as rig:
        rig.manager.run(assignment(command("m")))
        await wait_until(rig.manager.outcomes, "the stage ends")
        error = rig.manager.reports[-1].error
        assert error is not None
        assert error.data["status"] == status
        await wait_until(lambda: announced(rig) == 0, "the capacity is 0")


async def test_a_connection_that_breaks_during_the_call_fails_the_stage_and_work_stops(service):
    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    service.answer = answer
    async with rigged(service) as rig:
        rig.manager.run(assignment(command("m")))
        await wait_until(rig.manager.outcomes, "the stage ends")
        error = rig.manager.reports[-1].error
        assert error is not None
        assert error.type == "execution_error"
        assert "has broken the connection off" in error.message
        await wait_until(lambda: announced(rig) == 0, "the capacity is 0")


class Probe:
    """A service that is there from some question on."""

    def __init__(self, *errors: Exception | None) -> None:
        self.errors = list(errors)
        self.asked = 0

    async def __call__(self) -> None:
        self.asked += 1
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error


async def watched(probe: Probe, offer: Offer, first: float = 0.001) -> Availability:
    availability = Availability("it", probe, offer, Random(1), first=first)
    return availability


async def test_the_service_is_asked_until_it_answers_and_then_tried_with_one_task():
    offer, probe = Offer(), Probe(ServiceAway("no"), ServiceAway("no"))
    availability = await watched(probe, offer)
    watching = asyncio.create_task(availability.watch())
    availability.lost(ServiceAway("no"))
    assert (availability.away, offer.ceiling) == (True, 0)
    with availability.calling():  # one that runs still
        await wait_until(lambda: offer.ceiling == 2, "one more task is taken on trial")
    assert (availability.away, probe.asked) == (False, 3)
    availability.answered()
    await wait_until(lambda: offer.ceiling is None, "the limit is lifted")
    watching.cancel()


async def test_a_trial_that_fails_begins_the_waits_again_with_longer_ones():
    offer, probe = Offer(), Probe()
    availability = await watched(probe, offer)
    watching = asyncio.create_task(availability.watch())
    for round_ in range(1, 6):
        availability.lost(ServiceAway("no"))
        await wait_until(lambda: offer.ceiling == 1, "a task is taken on trial")
        assert probe.asked == round_
    assert availability._backoff.next() > 0.01
    watching.cancel()


async def test_the_service_says_when_it_wants_to_be_asked():
    offer, probe = Offer(), Probe()
    availability = await watched(probe, offer)
    watching = asyncio.create_task(availability.watch())
    availability.lost(ServiceAway("no", 3600.0))
    for _ in range(20):
        await asyncio.sleep(0)
    assert (offer.ceiling, probe.asked) == (0, 0)
    watching.cancel()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("5", 5.0),
        ("0", 0.0),
        ("999999", 3600.0),
        ("Thu, 01 Jan 1970 00:01:10 GMT", 10.0),
        ("Thu, 01 Jan 1970 00:00:10 GMT", 0.0),
        ("-1", None),
        ("soon", None),
        ("1.5", None),
        ("Thursday, 01-Jan-70 00:01:10 GMT", 10.0),
        ("Thu Jan  1 00:01:10 1970", 10.0),
        ("Thu, 01 Jan 1970 00:01:10", 10.0),
        ("Thu, 01 Jan 1970 00:01:10 -0000", 10.0),
        ("Thu, 01 Jan 99999 00:01:10 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text, seconds, zone):
    assert parse_retry_after(text, now=60.0) == seconds


@given(
    st.text()
    | st.lists(st.sampled_from(["Thu,", "01", "Jan", "1970", ":", "GMT", "-", "+", "99"])).map(
        " ".join
    )
)
def test_retry_after_may_be_any_text(text):
    seconds = parse_retry_after(text, now=60.0)
    assert seconds is None or 0 <= seconds <= 3600


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine is far from Greenwich."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "XYZ-9")
        time.tzset()
        yield
    time.tzset()

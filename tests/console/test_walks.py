"""What people do with the console, against a manager and an executor in processes."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from kaiju_tasks import Client
from tests.console.seed import APPROVAL, ends, invoice
from tests.support.processes import Processes, RunningProcess

pytestmark = pytest.mark.asyncio(loop_scope="module")
READY = r"^kaiju-tasks \S+ at http://127\.0\.0\.1:(\d+) "
SAMPLES = ("--executor", "kaiju_tasks.samples:executor")


@dataclass
class Place:
    """A manager with the sample executor."""

    url: str
    client: Client
    manager: RunningProcess


@pytest_asyncio.fixture(loop_scope="module")
async def place(store_url: str, processes: Processes) -> AsyncIterator[Place]:
    manager = processes.kaiju("serve", "--port", "0", "--db", store_url, *SAMPLES)
    port = (await manager.logged(READY))[1]
    async with Client(f"http://127.0.0.1:{port}") as client:
        yield Place(f"http://127.0.0.1:{port}", client, manager)


async def test_a_failed_task_is_found_understood_and_restarted(place: Place, page: Page) -> None:
    failing = [invoice(number, fails=True) for number in range(3)]
    await place.client.tasks.m_create(failing)
    for one in failing:
        await ends(place.client, one["id"])
    await page.goto(place.url)
    await page.get_by_role("link", name="3 tasks have failed").click()
    await expect(page.get_by_role("button", name="FAILED 3")).to_have_attribute(
        "aria-pressed", "true"
    )
    await page.get_by_role("link", name=failing[1]["id"]).click()
    problem = page.get_by_role("region", name="Why it failed: execution_error")
    await expect(problem).to_contain_text("cannot connect to mail.example.com:587")
    await expect(problem).to_contain_text("Stage 2: send")
    await page.get_by_role("button", name="Restart", exact=True).click()
    await page.get_by_role("dialog").get_by_role("button", name="Restart").click()
    runs = page.get_by_role("region", name="List of runs").locator("tbody tr")
    await expect(runs).to_have_count(2)
    await page.go_back()
    await page.get_by_role("button", name="Suspend all…").click()
    await expect(page.get_by_role("status").last).to_contain_text("Nothing would change")
    await page.get_by_role("button", name="Restart from the failed stage all…").click()
    dialog = page.get_by_role("dialog", name="Restart from the failed stage: 3 tasks?")
    await expect(dialog).to_contain_text("results of earlier stages are copied")
    await dialog.get_by_label("Reason").fill("The mail server is back")
    await dialog.get_by_label("Maximum tasks per second").fill("0.2")
    await dialog.get_by_role("button", name="Restart from the failed stage: 3 tasks").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("tasks.m_restart_from")
    await expect(page.get_by_role("main")).to_contain_text("The mail server is back")
    await page.get_by_role("button", name="Stop…").click()
    await page.get_by_role("dialog").get_by_role("button", name="Stop the call").click()
    await expect(page.get_by_role("main")).to_contain_text("STOPPED")
    (stopped,) = (await place.client.bulk.list())["data"]
    assert (stopped["state"], stopped["reason"]) == ("STOPPED", "The mail server is back")
    assert stopped["pending"] > 0


async def test_two_runs_are_compared(place: Place, page: Page) -> None:
    await place.client.tasks.create(invoice(0))
    await ends(place.client, invoice(0)["id"])
    await place.client.tasks.reset(invoice(0)["id"])
    await ends(place.client, invoice(0)["id"])
    await page.goto(f"{place.url}/runs")
    await page.get_by_role("link", name=invoice(0)["id"]).first.click()
    boxes = page.get_by_role("checkbox", name="Compare run")
    await expect(boxes).to_have_count(2)
    for box in await boxes.all():
        await box.check()
    table = page.get_by_role("region", name="Comparison of two runs").last
    await expect(table.locator("tbody tr")).to_have_count(2)
    await expect(table).to_contain_text("equal")


async def test_a_family_is_shown(place: Place, page: Page) -> None:
    children = [{"id": f"child-{number}", "commands": [{"method": "do.echo"}]} for number in (1, 2)]
    parent = {"method": "_TASKS_", "params": {"create": children}}
    await place.client.tasks.create({"id": "parent", "commands": [parent]})
    await ends(place.client, "parent")
    await page.goto(f"{place.url}/task?id=child-2")
    family = page.get_by_role("region", name="Family")
    await expect(family.get_by_role("listitem")).to_have_count(3)
    await family.get_by_role("link", name="parent").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("parent")


async def test_a_stream_is_paused(place: Place, page: Page) -> None:
    await place.client.tasks.create({"id": "t", "delay": 3600, "commands": [{"method": "do.echo"}]})
    await page.goto(f"{place.url}/streams")
    await page.get_by_role("button", name="Pause the stream default").click()
    dialog = page.get_by_role("dialog", name="Pause the stream default?")
    await dialog.get_by_label("Reason").fill("A deploy")
    await dialog.get_by_role("button", name="Pause the stream").click()
    await expect(page.get_by_role("status").last).to_contain_text("The stream default is paused")
    (pause,) = await place.client.pauses.list()
    assert (pause["app_name"], pause["reason"]) == ("default", "A deploy")


async def test_people_answer_what_waits_for_them(place: Place, page: Page) -> None:
    await place.client.tasks.create(APPROVAL)
    await page.goto(place.url)
    await page.get_by_role("link", name="1 task waits for a message").click()
    form = page.get_by_role("region", name="Waiting for the message “approve”")
    await form.get_by_label("Message").fill("yes")
    await form.get_by_role("button", name="Send the message").click()
    await expect(page.get_by_role("main")).to_contain_text("No task waits for a message.")
    assert (await ends(place.client, "approval"))["result"][2] == "yes"


async def test_a_message_is_answered(place: Place, page: Page) -> None:
    await place.client.tasks.create(APPROVAL)
    await page.goto(f"{place.url}/task?id=approval")
    form = page.get_by_role("region", name="Waiting for the message “approve”")
    await form.get_by_label("as JSON").check()
    await form.get_by_label("Message").fill('{"by": "ann", "amount": 18446744073709551615')
    await expect(form).to_contain_text("This is not complete JSON.")
    await expect(form.get_by_role("button")).to_be_disabled()
    await form.get_by_label("Message").fill('{"by": "ann", "amount": 18446744073709551615}')
    await form.get_by_role("button", name="Send the message").click()
    await expect(page.get_by_test_id("explain")).to_contain_text("FINISHED")
    task = await place.client.tasks.get("approval")
    assert task["result"][2] == {"by": "ann", "amount": 2**64 - 1}


async def test_the_page_survives_a_restart_of_the_manager(
    processes: Processes, page: Page, unused_tcp_port: int
) -> None:
    url, serve = f"http://127.0.0.1:{unused_tcp_port}", ("serve", "--port", str(unused_tcp_port))
    manager = processes.kaiju(*serve, *SAMPLES)
    await manager.logged(READY)
    await page.goto(f"{url}/tasks?status=FINISHED&q=order")
    await expect(page.get_by_text("No task matches these filters.")).to_be_visible()
    await expect(page.get_by_role("button", name="Live")).to_be_visible()
    manager.terminate()
    await manager.ended()
    await expect(page.get_by_role("alert")).to_contain_text("The manager cannot be reached.")
    again = processes.kaiju(*serve, *SAMPLES)
    await again.logged(READY)
    await expect(page.get_by_role("alert")).to_have_count(0)
    async with Client(url) as client:
        await client.tasks.create(
            {"id": "late", "description": "An order", "commands": [{"method": "do.echo"}]}
        )
    await expect(page.get_by_role("link", name="late")).to_be_visible()
    await expect(page.get_by_role("button", name="FINISHED 1")).to_have_attribute(
        "aria-pressed", "true"
    )

"""The log of a run on the page of its task, while the run goes on and afterwards."""

import json

import pytest
from playwright.async_api import Locator, Page, Request, Route, expect

from kaiju_tasks import Client
from tests.console.accessible import looks
from tests.console.seed import ends
from tests.support.processes import ROOT, Processes
from tests.support.wait import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")
READY = r"^kaiju-tasks \S+ at http://127\.0\.0\.1:(\d+) "
HOSTILE = '<img src=x onerror="window.hacked=1">'
IN_VIEW = """(line) => {
  const box = line.closest(".log");
  box.scrollIntoView({ block: "nearest" });
  const [inner, outer] = [line, box].map((one) => one.getBoundingClientRect());
  const within = inner.top >= outer.top - 1 && inner.bottom <= outer.bottom + 1;
  return within && inner.top >= 0 && inner.bottom <= innerHeight;
}"""
SCROLL_UP = """async (box) => {
  box.scrollTop = box.scrollHeight;
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  await frame();
  await frame();
  box.scrollTop = 0;
  await frame();
  await frame();
}"""


def reads_from_begin(request: Request) -> bool:
    data = request.post_data or ""
    return '"logs.list"' in data and '"after"' not in data


async def comes_into_view(line: Locator) -> None:
    await expect(line).to_be_visible()

    async def in_view() -> bool:
        return bool(await line.evaluate(IN_VIEW))

    await wait_until(in_view, "the line is in view")


async def scrolls_up(log: Locator) -> None:
    """Scroll to the first line until the log no longer follows."""

    async def stands() -> bool:
        await log.locator(".log").evaluate(SCROLL_UP)
        return not await log.get_by_label("Follow").is_checked()

    await wait_until(stands, "the log no longer follows")


async def test_lines_come_while_the_run_goes_on(
    store_url: str, processes: Processes, page: Page
) -> None:
    executor = ("--executor", "tests.console.talking:executor")
    manager = processes.kaiju(
        "serve", "--port", "0", "--db", store_url, *executor, env={"PYTHONPATH": str(ROOT)}
    )
    url = f"http://127.0.0.1:{(await manager.logged(READY))[1]}"
    many = [f"customer {number}" for number in range(200)]
    async with Client(url) as client:
        first = {"method": "mail.send", "params": {"lines": ["connected", "refused", HOSTILE]}}
        second = {"method": "mail.send", "params": {"lines": many, "until": "bell"}}
        task = {"id": "t", "commands": [{**first, "name": "first"}, {**second, "name": "second"}]}
        await client.tasks.create(task)
        whole: list[str] = []
        page.on("request", lambda one: whole.append(one.url) if reads_from_begin(one) else None)
        await page.goto(f"{url}/task?id=t")
        log = page.get_by_role("region", name="Log", exact=True)
        await expect(log.locator(".log-part")).to_have_text(["1. first", "2. second"])
        await expect(log.locator(".log-line.is-warning")).to_contain_text("refused")
        await expect(log.get_by_text(HOSTILE)).to_be_visible()
        await comes_into_view(log.get_by_text("customer 199"))
        await expect(log.get_by_label("Follow")).to_be_checked()
        before = len(whole)
        delayed = {"id": "bell", "description": "the mail server hangs up", "delay": 3600}
        await client.tasks.create({**delayed, "commands": [{"method": "do.echo"}]})
        await comes_into_view(log.get_by_text("the mail server hangs up"))
        await ends(client, "t")
        await wait_until(lambda: len(whole) > before, "the log is read once more from its begin")
        await expect(page.locator(".sub")).to_contain_text("FINISHED")
        await expect(log.locator(".log-line")).to_have_count(204)
        await scrolls_up(log)
        await expect(log.get_by_label("Follow")).not_to_be_checked()
        await log.get_by_role("combobox").select_option("1. first")
        await expect(log.locator(".log-line")).to_have_count(3)
        assert await page.evaluate("window.hacked") is None
        await page.reload()
        await expect(log.get_by_label("Follow")).not_to_be_checked()
        await expect(log.locator(".log-line")).to_have_count(204)
        async for _ in looks(page):
            pass


async def test_a_run_that_logs_faster_than_it_is_read_shows_its_lines(url: str, page: Page) -> None:
    read = 0

    async def answer(route: Route) -> None:
        nonlocal read
        call = json.loads(route.request.post_data or "{}")
        if call.get("method") != "logs.list":
            await route.continue_()
            return
        read += 1
        line = {
            "n": read,
            "at": 0,
            "level": "info",
            "source": "log",
            "message": f"customer {read}.",
        }
        line |= {"fields": None, "stage": 0, "attempt": 1, "cycle": 1}
        result = {"data": [line], "cursor": str(read)}
        await route.fulfill(json={"jsonrpc": "2.0", "id": call["id"], "result": result})

    async with Client(url) as client:
        task = {"id": "fast", "app_name": "nobody", "commands": [{"method": "do.echo"}]}
        await client.tasks.create(task)
        await page.route("**/rpc", answer)
        await page.goto(f"{url}/task?id=fast")
        log = page.get_by_role("region", name="Log", exact=True)
        await expect(log).to_contain_text("customer 1.")
        later = read + 1
        await expect(log).to_contain_text(f"customer {later}.")
        await client.tasks.delete("fast")


async def test_a_run_that_has_logged_nothing_shows_no_log(url: str, page: Page) -> None:
    async with Client(url) as client:
        made = await client.tasks.create({"commands": [{"method": "do.echo"}]})
        await client.tasks.wait(made["id"], timeout=30)
    await page.goto(f"{url}/task?id={made['id']}")
    await expect(page.get_by_role("heading", name="Runs")).to_be_visible()
    await expect(page.get_by_role("region", name="List of runs")).to_be_visible()
    await expect(page.get_by_role("region", name="Log", exact=True)).to_have_count(0)

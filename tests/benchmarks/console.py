"""Measures what the console costs, and how fast it is, with many tasks.

`python -m tests.benchmarks.console` fills a PostgreSQL with tasks and three runs of each, starts a
manager, and prints: the sizes of the assets, how long the lists take that the console asks for, how
long a browser takes to show them and how much of a processor, what an idle and a hidden page send
and cost, the longest time for which 200 events a second keep a page from answering, how much memory
it has after many events, and what pages that nobody uses cost a manager that works.
"""

import argparse
import asyncio
import gzip
import os
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import asyncpg
from playwright.async_api import Browser, CDPSession, Page, async_playwright

from kaiju_tasks import Client
from kaiju_tasks.server.console import FOLDER
from kaiju_tasks.store.open import make_store
from tests.console.conftest import FLAGS
from tests.store.many import MANY
from tests.support.browser import find_browser
from tests.support.postgres import PostgresServer
from tests.support.processes import Processes

READY = r"^kaiju-tasks \S+ at http://127\.0\.0\.1:(\d+) "
CALLS = 40
IDLE_SECONDS = 20.0
EVENTS_PER_SECOND = 200
EVENT_SECONDS = 10
MEMORY_TASKS = 20_000
EVENTS_OF_A_TASK = 4
"""It is queued, started and finished, and its stage is finished."""
TABS = 10
TAB_SECONDS = 60
UNUSED_SECONDS = 65.0
"""A page is unused after a minute."""
TICKS = os.sysconf("SC_CLK_TCK")
LISTS: dict[str, tuple[str, dict[str, Any]]] = {
    "tasks, newest first": ("tasks.list", {}),
    "failed tasks": (
        "tasks.list",
        {"conditions": {"status": ["FAILED"]}, "sort": ["-status_change"]},
    ),
    "tasks of a stream": ("tasks.list", {"conditions": {"app_name": "app7"}}),
    "a task by its id": ("tasks.list", {"conditions": {"id": "t777"}, "limit": 2}),
    "runs, last ended first": ("runs.list", {}),
    "failed runs": ("runs.list", {"conditions": {"status": ["FAILED"]}}),
    "counts": ("system.info", {}),
}
SCREENS = {
    "tasks": "tbody tr",
    "tasks?status=FAILED": "tbody tr",
    "runs?span=all": "tbody tr",
    "timeline, 2,000 bars": ".fleet path.bar-cap, .fleet path.bar-failed",
    "timeline, 9,000 runs": ".fleet path.bar-cap, .fleet path.bar-failed",
}
BARS = re.compile(r"timeline, ([0-9,]+) ")
LONG_TASKS = """
window.longest = 0;
new PerformanceObserver((list) => {
  for (const one of list.getEntries()) window.longest = Math.max(window.longest, one.duration);
}).observe({entryTypes: ["longtask"]});
"""
HIDE = """
Object.defineProperty(document, "hidden", {configurable: true, get: () => true});
document.dispatchEvent(new Event("visibilitychange"));
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.console", description=__doc__)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    asyncio.run(measure(parser.parse_args().tasks))


async def measure(tasks: int) -> None:
    for path in sorted(FOLDER.glob("app.*")):
        size = len(gzip.compress(path.read_bytes()))
        print(f"{path.suffix[1:]}: {size / 1000:.1f} kB compressed", flush=True)
    with PostgresServer() as server, tempfile.TemporaryDirectory() as folder:
        db = server.create_database("console")
        await fill(db, tasks)
        processes = Processes(Path(folder))
        serve = ("serve", "--port", "0", "--db", db, "--executor", "kaiju_tasks.samples:executor")
        manager = processes.kaiju(*serve)
        url = f"http://127.0.0.1:{(await manager.logged(READY))[1]}"
        try:
            async with Client(url) as client, async_playwright() as playwright:
                await lists(client)
                program = str(find_browser().program)
                browser = await playwright.chromium.launch(executable_path=program, args=FLAGS)
                await screens(browser, url)
                await idle(browser, url, manager.pid)
                await busy(browser, url, client)
                await memory(browser, url, client)
                await tabs(browser, url, client, manager.pid)
                await browser.close()
        finally:
            manager.terminate()
            await manager.ended()


async def fill(db: str, tasks: int) -> None:
    store = make_store(db)
    await store.open()
    await store.close()
    connection = await asyncpg.connect(db)
    many = re.sub(r"\b[123]00000\b|\b299999\b", lambda found: str(scaled(found[0], tasks)), MANY)
    # The manager would delete runs that ended long ago.
    recent = f"extract(epoch FROM now()) - {3 * tasks} + n"
    await connection.execute(many.replace("s.status, n, s.code", f"s.status, {recent}, s.code"))
    await connection.close()
    print(f"{tasks:,} tasks, {3 * tasks:,} runs", flush=True)


def scaled(number: str, tasks: int) -> int:
    """A number of the statements for 100,000 tasks, for another number of them."""
    return 3 * tasks - 1 if number == "299999" else int(number) // 100_000 * tasks


async def lists(client: Client) -> None:
    for name, (method, params) in LISTS.items():
        seconds = []
        for _ in range(CALLS):
            began = time.perf_counter()
            await client.call(method, **params)
            seconds.append(time.perf_counter() - began)
        seconds.sort()
        print(
            f"{name}: p50 {ms(seconds[CALLS // 2])}, p95 {ms(seconds[int(CALLS * 0.95)])}",
            flush=True,
        )


def ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"


async def opened(browser: Browser) -> Page:
    page = await (await browser.new_context()).new_page()
    page.set_default_timeout(120_000)
    return page


async def screens(browser: Browser, url: str) -> None:
    for screen, part in SCREENS.items():
        page = await opened(browser)
        tracker = await page.context.new_cdp_session(page)
        await tracker.send("Performance.enable")
        began = time.perf_counter()
        await page.goto(f"{url}/{address(screen)}")
        await page.locator(part).first.wait_for(state="attached")
        shown = time.perf_counter() - began
        paint = await page.evaluate(
            "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"
        )
        used = await metrics(tracker)
        print(
            f"/{screen}: first paint {paint:.0f} ms, content {ms(shown)}, of which the page worked "
            f"{ms(used['TaskDuration'])} (scripts {ms(used['ScriptDuration'])}, layout "
            f"{ms(used['LayoutDuration'])})",
            flush=True,
        )
        await page.context.close()


async def metrics(tracker: CDPSession) -> dict[str, float]:
    """What Chromium has measured of a page since it was opened: seconds, bytes or numbers."""
    found = (await tracker.send("Performance.getMetrics"))["metrics"]
    return {one["name"]: one["value"] for one in found}


def address(screen: str) -> str:
    """A run ended in each second until the store was filled."""
    found = BARS.match(screen)
    if found is None:
        return screen
    number, end = int(found[1].replace(",", "")), int(time.time()) - 600
    return f"timeline?from={end - number}&to={end}&by=stream"


async def idle(browser: Browser, url: str, pid: int) -> None:
    before = await cost(pid)
    page = await opened(browser)
    await page.goto(f"{url}/tasks")
    await page.get_by_role("button", name="Live").wait_for()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url))
    with_tab = await cost(pid)
    print(
        f"an idle page: {len(asked)} requests in {IDLE_SECONDS:.0f} s, the manager uses "
        f"{100 * with_tab:.2f} % of a core instead of {100 * before:.2f} %",
        flush=True,
    )
    await page.evaluate(HIDE)
    asked.clear()
    await asyncio.sleep(IDLE_SECONDS)
    print(f"a hidden page: {len(asked)} requests in {IDLE_SECONDS:.0f} s", flush=True)
    await page.context.close()


async def cost(pid: int) -> float:
    """The share of a core that a process uses."""
    before = ticks(pid)
    await asyncio.sleep(IDLE_SECONDS)
    return (ticks(pid) - before) / TICKS / IDLE_SECONDS


def ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


async def busy(browser: Browser, url: str, client: Client) -> None:
    page = await opened(browser)
    await page.add_init_script(LONG_TASKS)
    await page.goto(f"{url}/tasks")
    await page.get_by_role("button", name="Live").wait_for()
    await page.evaluate("window.longest = 0")
    await work(client, EVENT_SECONDS)
    longest = await page.evaluate("window.longest")
    print(
        f"with {EVENTS_PER_SECOND} events a second, the longest task of the page took "
        f"{longest:.0f} ms",
        flush=True,
    )
    await page.context.close()


async def work(client: Client, seconds: int) -> None:
    """Let tasks make 200 events a second."""
    began = time.perf_counter()
    for second in range(seconds):
        await client.tasks.m_create(echoes(EVENTS_PER_SECOND // EVENTS_OF_A_TASK))
        await asyncio.sleep(max(0.0, began + second + 1 - time.perf_counter()))


def echoes(number: int) -> list[dict[str, Any]]:
    return [{"commands": [{"method": "do.echo"}]} for _ in range(number)]


async def memory(browser: Browser, url: str, client: Client) -> None:
    page = await opened(browser)
    tracker = await page.context.new_cdp_session(page)
    await tracker.send("Performance.enable")
    await page.goto(f"{url}/tasks")
    await page.get_by_role("button", name="Live").wait_for()
    before = await heap(tracker)
    created = []
    for _ in range(MEMORY_TASKS // 1_000):
        created += await client.tasks.m_create(echoes(1_000))
        await page.mouse.move(len(created) % 300, 100)  # a page in use follows more events
    for one in created[-1_000:]:
        await client.tasks.wait(one["id"], timeout=60)
    after = await heap(tracker)
    print(
        f"a page has {before / 1e6:.1f} MB of objects, and {after / 1e6:.1f} MB after the "
        f"{EVENTS_OF_A_TASK * MEMORY_TASKS:,} events of {MEMORY_TASKS:,} tasks",
        flush=True,
    )
    await page.context.close()


async def heap(tracker: CDPSession) -> float:
    """The bytes of a page's objects that are in use."""
    await tracker.send("HeapProfiler.collectGarbage")
    return (await metrics(tracker))["JSHeapUsedSize"]


async def tabs(browser: Browser, url: str, client: Client, pid: int) -> None:
    alone = await work_cost(client, pid)
    pages = [await opened(browser) for _ in range(TABS)]
    for page in pages:
        await page.goto(f"{url}/tasks")
        await page.get_by_role("button", name="Live").wait_for()
    await asyncio.sleep(UNUSED_SECONDS)
    watched = await work_cost(client, pid)
    each = (watched - alone) / TABS
    print(
        f"the manager uses {100 * alone:.1f} % of a core for {EVENTS_PER_SECOND} events a second, "
        f"and {100 * each:.3f} % more for each page that nobody uses: "
        f"{10_000 * each:.1f} % of a core for 100 of them",
        flush=True,
    )
    for page in pages:
        await page.context.close()


async def work_cost(client: Client, pid: int) -> float:
    """The share of a core that a manager uses while tasks make 200 events a second."""
    before, began = ticks(pid), time.perf_counter()
    await work(client, TAB_SECONDS)
    return (ticks(pid) - before) / TICKS / (time.perf_counter() - began)


if __name__ == "__main__":
    main()

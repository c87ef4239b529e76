"""The pages of the documentation, and what running one means."""

from collections import defaultdict
from pathlib import Path

import aiohttp

from kaiju_tasks import Client
from tests.docs import data
from tests.docs.blocks import Block, Step, read_blocks, read_steps
from tests.docs.console import MANAGER, Console
from tests.support.processes import ROOT

PAGES = sorted(
    page for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")] if page.name != "CHANGELOG.md"
)
GIVEN = Path(__file__).parent / "given"
"""What pages take for granted: a page of blocks for some of them."""


def runs(page: Path) -> list[Block]:
    """The blocks to run: before those of a section what that takes for granted."""
    own = read_blocks(page)
    given = GIVEN / page.name
    if not given.exists() and not starts_a_manager(own):
        given = GIVEN / "default.md"
    before = defaultdict(list)
    for block in read_blocks(given) if given.exists() and own else []:
        before[block.heading].append(block)
    found = [*before.pop("", [])]
    for block in own:
        found += [*before.pop(block.heading, []), block]
    assert not before, f"{given.name} names sections that the page has not: {set(before)}"
    return found


def starts_a_manager(blocks: list[Block]) -> bool:
    """True when one of them does, so that no other is needed."""
    consoles = [block for block in blocks if block.language == "console" and not block.not_run]
    steps = (step for block in consoles for step in read_steps(block))
    return any(MANAGER.search(step.command) for step in steps)


async def run_page(page: Path, console: Console) -> None:
    """Run every block of a page, in its order.

    :raises AssertionError: one does not do what the page says
    """
    async with Client(console.url) as client, aiohttp.ClientSession() as session:
        wires: list[aiohttp.ClientWebSocketResponse] = []
        for block in runs(page):
            if block.not_run is None:
                await _run(block, console, client, session, wires)
        await console.end()
        for wire in wires:
            await wire.close()


async def _run(
    block: Block,
    console: Console,
    client: Client,
    session: aiohttp.ClientSession,
    wires: list[aiohttp.ClientWebSocketResponse],
) -> None:
    text = console.here(block.text)
    if block.file is not None:
        _write(console.folder / block.file, text)
    if block.language == "console":
        for step in read_steps(block):
            await console.run(step)
    elif block.language == "python" and block.file is None:
        _write(console.folder / "block.py", text)
        await console.run(Step(block, "python -m tests.docs.run_python block.py", []))
    elif block.language == "python":
        compile(text, block.place, "exec")
    elif block.language in ("json", "yaml", "toml", "ini"):
        values = data.read(block, text)
        if not wires:
            wires.append(await session.ws_connect(f"{console.url}/rpc"))
        await data.send(values, client, wires[0])
        if block.language == "ini":
            command = values[0]["Service"]["ExecStart"]
            await console.run(Step(block, command, []))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink() or path.parent.is_symlink():
        assert path.read_text() == text, f"{path.name} reads otherwise"
    else:
        path.write_text(text)

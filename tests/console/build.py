"""Builds the console: `python -m tests.console.build` writes the assets that are committed."""

import sys
from pathlib import Path

from kaiju_tasks.server.console import FOLDER
from tests.support.node import CONSOLE, Node, ready_node

TYPES = Path("node_modules/typescript/bin/tsc")


def build(node: Node, folder: Path) -> None:
    """Build the console into a folder, which is replaced."""
    node.run("build.mjs", str(folder), folder=CONSOLE)


def check_types(node: Node) -> None:
    """:raises AssertionError: a type is wrong; it says where"""
    node.run(TYPES, "--project", ".", folder=CONSOLE)


def main() -> int:
    """Check the types, and write the assets."""
    node = ready_node()
    try:
        check_types(node)
        build(node, FOLDER)
    except AssertionError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The tests of the parts of the console that need no page: console/tests/*.test.mjs."""

from pathlib import Path

from tests.support.node import CONSOLE, ready_node


def test_the_pure_parts_do_what_their_tests_say(tmp_path: Path) -> None:
    ready_node().run("test.mjs", str(tmp_path), folder=CONSOLE)

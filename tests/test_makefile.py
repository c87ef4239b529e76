"""`make help` lists what people run."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
STEPS = {"checks", "postgres", "node", "browser", "pytest"}
"""Steps of `make test`, of no use alone."""


def targets() -> set[str]:
    (phony,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return set(phony.split())


def test_help_lists_every_target_that_people_run() -> None:
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"],  # the gate runs this inside a make of its own
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    listed = dict(line.split("\t") for line in shown.splitlines())
    assert set(listed) == targets() - STEPS
    assert all(listed.values())


def test_every_rule_that_is_no_file_is_phony() -> None:
    rules = re.findall(r"^([a-z]+):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(rules) == targets()


def test_the_hooks_run_the_tools_of_the_gate() -> None:
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    assert re.findall(r"entry: (.*)", hooks) == ["make lint", "make types", "make imports"]

"""The lock file has a version of everything that the gate needs."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]


def needed() -> Iterator[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for line in [*project["dependencies"], *(one for lines in extras.values() for one in lines)]:
        if not line.startswith(f"{project['name']}["):
            yield Requirement(line)


def locked() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return dict(line.partition(" ;")[0].split("==") for line in lines)


def test_what_is_needed_is_locked_within_its_bounds() -> None:
    versions = locked()
    for requirement in needed():
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        assert name in versions, f"{requirement} is not locked: run `make lock`"
        assert versions[name] in requirement.specifier, f"{requirement}: run `make lock`"


def test_what_the_package_needs_has_an_upper_bound() -> None:
    """A new major version may break it. Time zones have no versions in this sense."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for line in project["dependencies"]:
        requirement = Requirement(line)
        bounds = {one.operator for one in requirement.specifier}
        assert "<" in bounds or requirement.name == "tzdata", line

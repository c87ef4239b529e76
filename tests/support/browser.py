"""Where the browser for the tests comes from: what is installed, else apt.

`python -m tests.support.browser` gets it and says what it did.
"""

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.support.fetching import FETCH_ERRORS, Fetcher, reason

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
OLDEST_MAJOR = 123  # CSS light-dark()
FETCHER = Fetcher("browser")


class BrowserMissing(RuntimeError):
    """No Chromium could be had. The tests fail then, they are never skipped."""


@dataclass(frozen=True, slots=True)
class Chromium:
    """An installed Chromium.

    :param program: the executable
    :param version: such as `150.0.7800.1`
    """

    program: Path
    version: str

    def __str__(self) -> str:
        return f"Chromium {self.version} at {self.program}"


@cache
def find_browser() -> Chromium:
    """The Chromium at hand, fetched by apt if there is none and we are root.

    :raises BrowserMissing: none can be had; it says what was tried
    """
    with FETCHER.alone():
        if found := installed_browser():
            return found
        try:
            FETCHER.apt("chromium")
            tried = "apt-get brought none that is new enough"
        except FETCH_ERRORS as error:
            tried = reason(error)
        if found := installed_browser():
            return found
    raise BrowserMissing(
        f"The tests need Chromium {OLDEST_MAJOR} or newer, and none can be had. Install one "
        f"(Debian: apt-get install chromium). Tried: {tried}."
    )


def installed_browser() -> Chromium | None:
    """What is here without fetching anything."""
    for name in NAMES:
        program = shutil.which(name)
        if program is not None and (found := _look(Path(program))):
            return found
    return None


def _look(program: Path) -> Chromium | None:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    match = re.search(r"(\d+)\.[\d.]+", said.stdout)
    if match is None:
        raise BrowserMissing(f"{program} --version said {said.stdout!r}, which is no version.")
    return Chromium(program, match[0]) if int(match[1]) >= OLDEST_MAJOR else None


def main() -> int:
    """Make sure that the tests have a browser.

    :returns: 0, or 1 when none can be had
    """
    try:
        found = find_browser()
    except BrowserMissing as error:
        FETCHER.say(str(error))
        return 1
    FETCHER.say(str(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())

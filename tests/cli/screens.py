"""A command on a terminal of its own, and what its screen shows."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.processes import ROOT
from tests.support.wait import wait_until

PATIENCE_SECONDS = 60.0
FRAME = "\x1b[H"
CODE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Screened:
    """A process whose standard streams are a terminal.

    :ivar output: all that it has written
    """

    def __init__(self, url: str, arguments: tuple[str, ...], cells: int, rows: int) -> None:
        self._terminal, its = pty.openpty()
        self.before = termios.tcgetattr(self._terminal)
        self._size(cells, rows)
        env = {
            name: text
            for name, text in os.environ.items()
            if name not in ("COLUMNS", "LINES", "NO_COLOR") and not name.startswith("KAIJU_")
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "kaiju_tasks.cli", *arguments],
            env={**env, "KAIJU_URL": url, "PYTHONPATH": str(ROOT), "TERM": "xterm"},
            stdin=its,
            stdout=its,
            stderr=its,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        self._its = its  # kept open: the settings of the terminal are read after the end
        self._written = bytearray()
        self._reader = threading.Thread(target=self._drain, daemon=True)
        self._reader.start()

    @property
    def output(self) -> str:
        return bytes(self._written).decode(errors="replace")

    @property
    def frames(self) -> list[list[str]]:
        """The frames that were drawn, the last one first; the newest may not be whole yet."""
        drawn = self.output.split(FRAME)[1:]
        return [[line.rstrip() for line in _plain(frame).splitlines()] for frame in drawn[::-1]]

    @property
    def settings(self) -> object:
        """Those of the terminal now."""
        return termios.tcgetattr(self._its)

    def type(self, keys: str) -> None:
        os.write(self._terminal, keys.encode())

    def resize(self, cells: int, rows: int) -> None:
        self._size(cells, rows)

    async def shows(self, *texts: str) -> list[str]:
        """Wait for a frame with all of these texts."""

        def found() -> list[str] | None:
            assert self.process.poll() is None, self.output
            for frame in self.frames[:3]:
                if all(any(text in line for line in frame) for text in texts):
                    return frame
            return None

        frame = await wait_until(found, f"the screen shows {texts}", PATIENCE_SECONDS)
        assert frame is not None
        return frame

    async def ended(self) -> int:
        """Wait for the end of the process, and return its exit code."""
        await wait_until(
            lambda: self.process.poll() is not None, "the command has ended", PATIENCE_SECONDS
        )
        assert "Traceback" not in self.output
        return self.process.returncode

    async def writes(self, text: str) -> None:
        """Wait for a text after the last frame."""
        await wait_until(
            lambda: text in _plain(self.output), f"{text!r} is written", PATIENCE_SECONDS
        )

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self._its)
        self._reader.join(PATIENCE_SECONDS)
        os.close(self._terminal)

    def _size(self, cells: int, rows: int) -> None:
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cells, 0, 0))

    def _drain(self) -> None:
        try:
            while data := os.read(self._terminal, 65_536):
                self._written += data
        except OSError:
            return  # Linux: the other side is closed


def _plain(text: str) -> str:
    return CODE.sub("", text).replace("\r", "")


@contextmanager
def on_screen(url: str, *arguments: str, cells: int = 80, rows: int = 24) -> Iterator[Screened]:
    """Start a command on a terminal, and end it with the block."""
    screened = Screened(url, arguments, cells, rows)
    try:
        yield screened
    finally:
        screened.close()

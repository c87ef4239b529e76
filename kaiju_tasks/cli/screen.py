"""A terminal that a command draws again and again, and whose keys it reads."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

__all__ = ["Screen"]

TITLE, HEADING, NOTE = "bold", "bold", "reverse"
KEY_BYTES = 1024


class Screen:
    """Standard output, as a screen of its own: what was there before is there again afterwards.

    :param pressed: is called with each key that is typed, if standard input is a terminal
    :param resized: is called when the terminal has another size
    :param ended: is called with the number of the signal that is to end the process
    """

    def __init__(
        self,
        pressed: Callable[[str], None],
        resized: Callable[[], None],
        ended: Callable[[int], None],
    ) -> None:
        self._pressed = pressed
        self._resized = resized
        self._ended = ended
        self._console = Console(file=sys.stdout)
        self._live = Live(console=self._console, screen=True, auto_refresh=False)
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            self._live.start()
            undo.callback(self._live.stop)
            if os.name == "posix":
                self._handle_signals(undo)
                if sys.stdin.isatty():
                    self._read_keys(sys.stdin.fileno(), undo)
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._undo.close()

    @property
    def size(self) -> tuple[int, int]:
        """The width in cells, and the height in lines."""
        return self._console.size.width, self._console.size.height

    def show(self, lines: Sequence[str], note: str) -> None:
        """Draw lines that fit, and one more at the end. Those after an empty line are headings."""
        texts = []
        for index, line in enumerate(lines):
            style = TITLE if not index else HEADING if not lines[index - 1] else ""
            texts.append(Text(line, style, no_wrap=True, overflow="crop"))
        height = self._console.size.height
        texts = texts[: height - 1] + [Text("")] * (height - 1 - len(texts))
        texts.append(Text(note, NOTE if note else "", no_wrap=True, overflow="crop"))
        self._live.update(Group(*texts), refresh=True)

    def _handle_signals(self, undo: ExitStack) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGWINCH, self._resized)
        undo.callback(loop.remove_signal_handler, signal.SIGWINCH)
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._ended, int(number))
            undo.callback(loop.remove_signal_handler, number)

    def _read_keys(self, descriptor: int, undo: ExitStack) -> None:
        """Read each key at once, and do not show it. Ctrl-C is a signal still; Ctrl-Z is not, which
        would leave the shell with this screen."""
        import termios
        import tty

        before = termios.tcgetattr(descriptor)
        undo.callback(termios.tcsetattr, descriptor, termios.TCSADRAIN, before)
        tty.setcbreak(descriptor, termios.TCSADRAIN)
        now = termios.tcgetattr(descriptor)
        now[6][termios.VSUSP] = b"\0"
        termios.tcsetattr(descriptor, termios.TCSADRAIN, now)
        loop = asyncio.get_running_loop()
        loop.add_reader(descriptor, self._read, descriptor)
        undo.callback(loop.remove_reader, descriptor)

    def _read(self, descriptor: int) -> None:
        typed = os.read(descriptor, KEY_BYTES).decode(errors="replace")
        if not typed:
            asyncio.get_running_loop().remove_reader(descriptor)
        for key in typed:
            self._pressed(key)

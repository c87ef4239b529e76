"""Text on a terminal: its width, and how to cut it to a width."""

import unicodedata
from collections.abc import Iterable

__all__ = ["ELLIPSIS", "cut", "cut_middle", "one_line", "pad", "width"]

ELLIPSIS = "…"
JOINER = "\u200d"
NON_JOINER = "\u200c"
EMOJI_STYLE = "\ufe0f"
POINTS_A_CELL = 16
"""An upper bound for the code points of a written character, for each of its cells."""
TAGS = ("\U000e0020", "\U000e007f")


def one_line(text: str) -> str:
    """Return a text without line breaks and other control characters.

    The data of a task must not control the terminal. Joined emoji stay joined.
    """
    if text.isprintable():
        return text
    return "".join(_harmless(text, i) for i in range(len(text)))


def width(text: str) -> int:
    """Return the width of a one-line text in cells of a terminal."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def cut(text: str, room: int) -> str:
    """Cut a text to a number of cells; an ellipsis replaces its end."""
    if width(text) <= room:
        return text
    return _ends(text, room - 1, 0) if room > 0 else ""


def cut_middle(text: str, room: int) -> str:
    """Cut a text to a number of cells; an ellipsis replaces its middle."""
    if width(text) <= room:
        return text
    head = room // 2
    return _ends(text, head, room - 1 - head) if room > 0 else ""


def pad(text: str, room: int, *, right: bool = False) -> str:
    """Fill a text with spaces to a number of cells, on its right or its left."""
    spaces = " " * (room - width(text))
    return spaces + text if right else text + spaces


def _ends(text: str, head: int, tail: int) -> str:
    """Return the first and the last cells of a text, as whole characters."""
    first = _within(_characters(text[: _near(head)]), head)
    last = _within(reversed(_characters(text[-_near(tail) :])), tail)
    return "".join([*first, ELLIPSIS, *reversed(last)])


def _near(cells: int) -> int:
    """Return the part of a long text that is certain to fill the cells."""
    return (cells + 1) * POINTS_A_CELL


def _within(characters: Iterable[tuple[str, int]], room: int) -> list[str]:
    taken = []
    for character, size in characters:
        room -= size
        if room < 0:
            break
        taken.append(character)
    return taken


def _characters(text: str) -> list[tuple[str, int]]:
    """Yield the characters that a reader sees, each with its width in cells."""
    if text.isascii():
        return [(character, 1) for character in text]
    from rich.cells import split_graphemes

    return [(text[start:end], size) for start, end, size in split_graphemes(text)[0]]


def _harmless(text: str, index: int) -> str:
    character = text[index]
    if character.isprintable() or character == NON_JOINER:
        return character
    if character == JOINER:
        return character if _joins_emoji(text, index) else ""
    return "" if TAGS[0] <= character <= TAGS[1] else " "


def _joins_emoji(text: str, index: int) -> bool:
    before = text[max(0, index - 2) : index].removesuffix(EMOJI_STYLE)[-1:]
    after = text[index + 1 : index + 2]
    return _category(before) in ("So", "Sk") and _category(after) in ("So", "Sm")


def _category(character: str) -> str:
    return unicodedata.category(character) if character else ""

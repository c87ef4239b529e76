"""Text on a terminal: how wide it is, and how it is made to fit."""

import unicodedata
from collections.abc import Iterable

__all__ = ["cut", "cut_middle", "one_line", "pad", "width"]

ELLIPSIS = "…"
JOINER = "\u200d"
NON_JOINER = "\u200c"
EMOJI_STYLE = "\ufe0f"
POINTS_A_CELL = 16
"""More code points than any character that people write takes for each of its cells."""
TAGS = ("\U000e0020", "\U000e007f")


def one_line(text: str) -> str:
    """A text without line breaks and what else acts on a terminal: those of a task's data are not
    for the terminal. Joined emoji stay joined."""
    if text.isprintable():
        return text
    return "".join(_harmless(text, i) for i in range(len(text)))


def width(text: str) -> int:
    """How many cells of a terminal a text of one line takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def cut(text: str, room: int) -> str:
    """A text that takes at most so many cells; an ellipsis stands for its end."""
    if width(text) <= room:
        return text
    return _ends(text, room - 1, 0) if room > 0 else ""


def cut_middle(text: str, room: int) -> str:
    """A text that takes at most so many cells; an ellipsis stands for its middle."""
    if width(text) <= room:
        return text
    head = room // 2
    return _ends(text, head, room - 1 - head) if room > 0 else ""


def pad(text: str, room: int, *, right: bool = False) -> str:
    """A text with as many spaces behind it, or before it, as fill the cells."""
    spaces = " " * (room - width(text))
    return spaces + text if right else text + spaces


def _ends(text: str, head: int, tail: int) -> str:
    """The first and the last cells of a text, whole characters only."""
    first = _within(_characters(text[: _near(head)]), head)
    last = _within(reversed(_characters(text[-_near(tail) :])), tail)
    return "".join([*first, ELLIPSIS, *reversed(last)])


def _near(cells: int) -> int:
    """So much of a text, however long it is, is enough to fill the cells."""
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
    """What a reader sees as characters, each with the cells that it takes."""
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

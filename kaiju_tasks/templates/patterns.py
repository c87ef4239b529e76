"""Patterns for `match` and `like`: a regular-expression language with bounded matching.

A pattern is compiled to a Glushkov automaton: one position for each character that it can read, and
sets of positions as the bits of an int. Matching takes one step for each character of the text,
whatever the pattern, and every step is counted.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, NoReturn

from kaiju_tasks.errors import TemplateError
from kaiju_tasks.templates.scope import Scope
from kaiju_tasks.templates.values import shown

__all__ = [
    "MAX_MATCHED_TEXT",
    "MAX_PATTERN",
    "Pattern",
    "compile_like",
    "compile_match",
]

MAX_PATTERN = 1_000
MAX_MATCHED_TEXT = 65_536
MAX_GROUPS = 32
KEPT_STEPS = 4_096
MAX_LINKS = 4_000

FINAL = 1
START = "^"
END = "$"

DIGITS = frozenset("0123456789")
WORD = frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz")
SPACE = frozenset(" \t\n\r\f\v")
CLASSES = {"d": DIGITS, "w": WORD, "s": SPACE}
CONTROLS = {"n": "\n", "r": "\r", "t": "\t"}


@dataclass(frozen=True, slots=True)
class _Chars:
    """The characters that a position can read, or the edge that it stands for."""

    singles: frozenset[str] = frozenset()
    ranges: tuple[tuple[str, str], ...] = ()
    without: tuple[frozenset[str], ...] = ()
    negated: bool = False
    edge: str = ""

    def reads(self, char: str) -> bool:
        if self.edge:
            return False
        found = (
            char in self.singles
            or any(low <= char <= high for low, high in self.ranges)
            or any(char not in outside for outside in self.without)
        )
        return found is not self.negated


@lru_cache(maxsize=512)
def _one(char: str) -> _Chars:
    return _Chars(frozenset(char))


ANY = _Chars(negated=True)
ANY_BUT_NEWLINE = _Chars(singles=frozenset("\n"), negated=True)


class _Piece(NamedTuple):
    """A part of a pattern: whether it matches the empty text, and where it begins and ends."""

    nullable: bool
    first: int
    last: int


EMPTY = _Piece(True, 0, 0)


class _Automaton:
    def __init__(self) -> None:
        self.chars: list[_Chars] = [_Chars()]
        self.follow: list[int] = [0]
        self._links = 0

    def read(self, chars: _Chars) -> _Piece:
        bit = 1 << len(self.chars)
        self.chars.append(chars)
        self.follow.append(0)
        return _Piece(False, bit, bit)

    def then(self, a: _Piece, b: _Piece) -> _Piece:
        self._lead(a.last, b.first)
        return _Piece(
            a.nullable and b.nullable,
            a.first | b.first if a.nullable else a.first,
            a.last | b.last if b.nullable else b.last,
        )

    def either(self, a: _Piece, b: _Piece) -> _Piece:
        return _Piece(a.nullable or b.nullable, a.first | b.first, a.last | b.last)

    def repeated(self, a: _Piece, sign: str) -> _Piece:
        if sign != "?":
            self._lead(a.last, a.first)
        return _Piece(a.nullable or sign != "+", a.first, a.last)

    def finished(self, a: _Piece, *, anywhere: bool) -> "Pattern":
        self._lead(a.last, FINAL)
        first = a.first | FINAL if a.nullable else a.first
        return Pattern(self.chars, self.follow, first, anywhere)

    def _lead(self, sources: int, targets: int) -> None:
        self._links += sources.bit_count()
        if self._links > MAX_LINKS:
            raise TemplateError(
                "The pattern is too complex: it has too many optional parts in a row.",
                position=0,
            )
        for i in _bits(sources):
            self.follow[i] |= targets


class Pattern:
    """A compiled pattern; made by :func:`compile_match` or :func:`compile_like`."""

    __slots__ = ("_anywhere", "_chars", "_ends", "_first", "_follow", "_size", "_starts")

    def __init__(self, chars: list[_Chars], follow: list[int], first: int, anywhere: bool) -> None:
        self._chars = chars
        self._follow = follow
        self._first = first
        self._anywhere = anywhere
        self._size = sum(2 + len(c.ranges) for c in chars)
        self._starts = _edges(chars, START)
        self._ends = _edges(chars, END)

    def matches(self, text: str, scope: Scope) -> bool:
        """Whether the text matches.

        :param text: at most :data:`MAX_MATCHED_TEXT` characters
        :param scope: counts the work
        :raises TemplateError: the text is too long, or matching takes too much work
        """
        if len(text) > MAX_MATCHED_TEXT:
            raise TemplateError(
                f"A text of {len(text)} characters is too long to be matched;"
                f" the limit is {MAX_MATCHED_TEXT}."
            )
        scope.work(1 + len(text) // 8)
        again = self._first if self._anywhere else 0
        reach = self._pass_edges(self._first, self._starts, scope)
        known: dict[tuple[int, str], int] = {}
        masks: dict[str, int] = {}
        for char in text:
            if reach & FINAL and self._anywhere:
                return True
            step = known.get((reach, char))
            if step is None:
                if char not in masks:
                    masks[char] = self._readers(char, scope)
                step = self._after(reach & masks[char], scope) | again
                if len(known) == KEPT_STEPS:
                    known.clear()
                known[reach, char] = step
            reach = step
        edges = self._ends if text else self._ends | self._starts
        return bool(self._pass_edges(reach, edges, scope) & FINAL)

    def _readers(self, char: str, scope: Scope) -> int:
        scope.work(self._size)
        return sum(1 << i for i, c in enumerate(self._chars) if c.reads(char))

    def _after(self, active: int, scope: Scope) -> int:
        scope.work(1 + active.bit_count())
        reach = 0
        for i in _bits(active):
            reach |= self._follow[i]
        return reach

    def _pass_edges(self, reach: int, edges: int, scope: Scope) -> int:
        passed = 0
        while new := reach & edges & ~passed:
            passed |= new
            reach |= self._after(new, scope)
        return reach


def compile_match(pattern: str) -> Pattern:
    """Compile a regular expression of the subset in docs/templates.md. It matches anywhere.

    :param pattern: at most :data:`MAX_PATTERN` characters
    :raises TemplateError: too long or malformed; `position` is the place in the pattern
    """
    _check_length(pattern)
    automaton = _Automaton()
    parser = _Parser(pattern, automaton)
    piece = parser.alternatives()
    if parser.position < len(pattern):
        parser.refuse('")" has no matching "("; to match it as text, write "\\)"')
    return automaton.finished(piece, anywhere=True)


def compile_like(pattern: str) -> Pattern:
    r"""Compile an SQL LIKE pattern: `%` any text, `_` any character, `\` before a literal one.

    :param pattern: at most :data:`MAX_PATTERN` characters; it must match the whole text
    :raises TemplateError: too long, or ends with a single backslash
    """
    _check_length(pattern)
    automaton = _Automaton()
    piece = EMPTY
    escaped = False
    previous = ""
    for char in pattern:
        if char == "\\" and not escaped:
            escaped = True
            continue
        if char == previous == "%" and not escaped:
            continue
        if escaped or char not in "%_":
            part = automaton.read(_one(char))
        else:
            part = automaton.read(ANY)
            part = automaton.repeated(part, "*") if char == "%" else part
        piece = automaton.then(piece, part)
        previous = "" if escaped else char
        escaped = False
    if escaped:
        raise TemplateError(
            r"A LIKE pattern cannot end with a single backslash; to match a backslash, write \\.",
            position=len(pattern) - 1,
        )
    return automaton.finished(piece, anywhere=False)


def _check_length(pattern: str) -> None:
    if len(pattern) > MAX_PATTERN:
        raise TemplateError(
            f"A pattern may have at most {MAX_PATTERN} characters, this one has {len(pattern)}.",
            position=MAX_PATTERN,
        )


def _edges(chars: list[_Chars], edge: str) -> int:
    return sum(1 << i for i, c in enumerate(chars) if c.edge == edge)


def _bits(mask: int) -> list[int]:
    found = []
    while mask:
        low = mask & -mask
        found.append(low.bit_length() - 1)
        mask ^= low
    return found


class _Parser:
    def __init__(self, source: str, automaton: _Automaton) -> None:
        self.source = source
        self.position = 0
        self._automaton = automaton
        self._groups = 0

    def refuse(self, what: str, position: int | None = None) -> NoReturn:
        at = self.position if position is None else position
        raise TemplateError(f"{what} (position {at} of the pattern).", position=at)

    def alternatives(self) -> _Piece:
        piece = self._sequence()
        while self._peek() == "|":
            self.position += 1
            piece = self._automaton.either(piece, self._sequence())
        return piece

    def _peek(self) -> str:
        return self.source[self.position : self.position + 1]

    def _next(self, what: str) -> str:
        char = self._peek()
        if not char:
            self.refuse(f"The pattern ends inside {what}")
        self.position += 1
        return char

    def _sequence(self) -> _Piece:
        piece = EMPTY
        while self._peek() not in ("", "|", ")"):
            piece = self._automaton.then(piece, self._repeated())
        return piece

    def _repeated(self) -> _Piece:
        piece = self._atom()
        sign = self._peek()
        if sign and sign in "*+?":
            self.position += 1
            piece = self._automaton.repeated(piece, sign)
            if self._peek() == "?":
                self.position += 1
            if self._peek() and self._peek() in "*+?":
                self.refuse("Nothing to repeat: this follows another repetition")
        return piece

    def _atom(self) -> _Piece:
        start = self.position
        char = self._next("a pattern")
        if char == "(":
            return self._group(start)
        if char == "[":
            return self._automaton.read(self._class(start))
        if char in "*+?":
            self.refuse(
                f'Nothing to repeat before "{char}"; to match it as text, write "\\{char}"', start
            )
        if char in "{}":
            self.refuse(
                "Counted repetition is not supported: repeat the part itself;"
                f' to match the brace as text, write "\\{char}"',
                start,
            )
        if char in (START, END):
            return self._automaton.read(_Chars(edge=char))
        if char == ".":
            return self._automaton.read(ANY_BUT_NEWLINE)
        if char == "\\":
            return self._automaton.read(self._escaped(start))
        return self._automaton.read(_one(char))

    def _group(self, start: int) -> _Piece:
        self._groups += 1
        if self._groups > MAX_GROUPS:
            self.refuse(f"Groups may be nested at most {MAX_GROUPS} deep", start)
        if self.source.startswith("?:", self.position):
            self.position += 2
        piece = self.alternatives()
        if self._peek() != ")":
            self.refuse('This "(" is not closed; to match it as text, write "\\("', start)
        self.position += 1
        self._groups -= 1
        return piece

    def _escaped(self, start: int) -> _Chars:
        char = self._next('a "\\" escape')
        if char in CLASSES:
            return _Chars(CLASSES[char])
        if char.lower() in CLASSES:
            return _Chars(CLASSES[char.lower()], negated=True)
        if char in CONTROLS:
            return _Chars(frozenset(CONTROLS[char]))
        if char in WORD:
            self.refuse(f"Unknown escape {shown(chr(92) + char)}", start)
        return _Chars(frozenset(char))

    def _class(self, start: int) -> _Chars:
        negated = self._peek() == "^"
        if negated:
            self.position += 1
        singles: set[str] = set()
        ranges: list[tuple[str, str]] = []
        without: list[frozenset[str]] = []
        while self._peek() != "]":
            at = self.position
            low = self._class_item(start)
            if low.negated:
                without.append(low.singles)
            elif self._is_range():
                self.position += 1
                ranges.append(self._range(low, self._class_item(start), at))
            else:
                singles |= low.singles
        self.position += 1
        if not singles and not ranges and not without:
            self.refuse("An empty class matches nothing", start)
        return _Chars(frozenset(singles), tuple(ranges), tuple(without), negated)

    def _is_range(self) -> bool:
        return self._peek() == "-" and self.source[self.position + 1 : self.position + 2] != "]"

    def _class_item(self, start: int) -> _Chars:
        at = self.position
        if not self._peek():
            self.refuse('This "[" is not closed; to match it as text, write "\\["', start)
        char = self._next("a class")
        return self._escaped(at) if char == "\\" else _Chars(frozenset(char))

    def _range(self, low: _Chars, high: _Chars, at: int) -> tuple[str, str]:
        if len(low.singles) != 1 or len(high.singles) != 1 or high.negated:
            self.refuse("A range must go from one character to another", at)
        (first,), (last,) = low.singles, high.singles
        if first > last:
            self.refuse(f"This range is reversed: {shown(first)} to {shown(last)}", at)
        return first, last

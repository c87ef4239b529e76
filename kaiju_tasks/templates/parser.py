"""Parses the text of a template to nodes. docs/templates.md has the grammar."""

import json
import math
import re
from typing import Any, NoReturn

from kaiju_tasks.errors import TemplateError
from kaiju_tasks.templates.functions import FUNCTIONS
from kaiju_tasks.templates.nodes import Call, Concat, Const, Node, Select
from kaiju_tasks.templates.roots import ANY_ROOT
from kaiju_tasks.templates.values import INTEGERS, shown

__all__ = [
    "MAX_NESTING",
    "MAX_REFERENCES",
    "MAX_SEGMENTS",
    "MAX_TEMPLATE_TEXT",
    "Compilation",
    "is_plain",
    "parse",
    "parse_key",
]

MAX_TEMPLATE_TEXT = 65_536
MAX_NESTING = 32
MAX_SEGMENTS = 64
MAX_REFERENCES = 10_000

HINT = (
    " To write brackets as plain text, put them in backticks: `[text]`,"
    ' or pass the whole value as {"$raw": value}.'
)
BARE_KEY = re.compile(r"[A-Za-z0-9_$@\-\x80-\U0010ffff]+")
BARE_FIELD_KEY = re.compile(r"[A-Za-z0-9_$@\x80-\U0010ffff]+")
JSON_STRING = re.compile(
    r'[ \t\r\n]*"(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*"[ \t\r\n]*'
)
JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
STOPS = {ends: re.compile("[`[" + re.escape(ends) + "]") for ends in ("]", ":]", "}]", "]{}")}
LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")
FUNCTION_NAME = re.compile("[a-z]*")
WORDS = {"true": True, "false": False, "null": None}


class Compilation:
    """The state of the compilation of one whole value.

    :ivar roots: the root keys that are read; `*` stands for an unknown one
    """

    __slots__ = ("_left", "roots")

    def __init__(self) -> None:
        self.roots: set[str] = set()
        self._left = MAX_REFERENCES

    def reference(self) -> bool:
        """Count a reference or call. False: there are more than :data:`MAX_REFERENCES`."""
        self._left -= 1
        return self._left >= 0


def is_plain(text: str) -> bool:
    """Whether a text has no brackets, so that it is passed unchanged."""
    return "[" not in text and "]" not in text


def parse(text: str, compilation: Compilation) -> Node:
    """Compile a text.

    :param text: the template
    :param compilation: receives the root keys that the template reads
    :raises TemplateError: malformed; `position` is the place in the text
    """
    parser = _start(text, compilation)
    node = parser.text()
    if parser.position < len(text):
        parser.refuse('"]" has no matching "["')
    return node


def parse_key(text: str, compilation: Compilation) -> Node:
    """Compile the key of a condition: a whole template, or the inside of a selection.

    :raises TemplateError: malformed; `position` is the place in the text
    """
    if _start(text, Compilation()).is_bracket():
        return parse(text, compilation)
    parser = _start(text, compilation)
    node = parser.select(BARE_KEY, ".", "]")
    if parser.position < len(text):
        parser.refuse(f"{shown(text[parser.position])} is not allowed in a path")
    return node


def _start(text: str, compilation: Compilation) -> "_Parser":
    if len(text) > MAX_TEMPLATE_TEXT:
        raise TemplateError(
            f"A template may have at most {MAX_TEMPLATE_TEXT} characters, this one has {len(text)}."
            + HINT,
            position=MAX_TEMPLATE_TEXT,
        )
    return _Parser(text, compilation)


class _Parser:
    def __init__(self, source: str, compilation: Compilation) -> None:
        self.source = source
        self.position = 0
        self._compilation = compilation
        self._nesting = 0

    def refuse(self, what: str, position: int | None = None) -> NoReturn:
        at = self.position if position is None else position
        raise TemplateError(f"{what} (position {at}).{HINT}", position=at)

    def text(self) -> Node:
        return _joined(self._parts("]"))

    def is_bracket(self) -> bool:
        """Whether the whole text is exactly one bracket."""
        if self._peek() != "[":
            return False
        self._bracket()
        return self.position == len(self.source)

    def select(self, bare: re.Pattern[str], separators: str, end: str) -> Select:
        self._count()
        segments = [self._segment(bare)]
        while self._peek() and self._peek() in separators:
            self.position += 1
            if len(segments) == MAX_SEGMENTS:
                self.refuse(f"A path may have at most {MAX_SEGMENTS} segments")
            segments.append(self._segment(bare))
        self._compilation.roots.add(segments[0] if isinstance(segments[0], str) else ANY_ROOT)
        default = None
        if self._peek() == ":":
            self.position += 1
            default = self._argument(end)
        return Select(tuple(segments), default)

    def _peek(self) -> str:
        return self.source[self.position : self.position + 1]

    def _count(self) -> None:
        if not self._compilation.reference():
            self.refuse(f"A value may have at most {MAX_REFERENCES} references and calls")

    def _bracket(self) -> Node:
        start = self.position
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            self.refuse(f"Templates may be nested at most {MAX_NESTING} deep")
        self.position += 1
        if not self._peek():
            self.refuse('This "[" is not closed', start)
        node = self._operator() if self._peek() == "!" else self.select(BARE_KEY, ".", "]")
        if not self._peek():
            self.refuse('This "[" is not closed', start)
        if self._peek() != "]":
            self.refuse(f"{shown(self._peek())} is not allowed in a path")
        self.position += 1
        self._nesting -= 1
        return node

    def _operator(self) -> Node:
        if self.source.startswith("!f:", self.position):
            self.position += 3
            return self._format()
        if self.source.startswith("!x:", self.position):
            self.position += 3
            return self._call()
        self.refuse('"[!" must be followed by f: (format) or x: (function call)')

    def _call(self) -> Node:
        self._count()
        start = self.position
        match = FUNCTION_NAME.match(self.source, start)
        name = match.group() if match else ""
        function = FUNCTIONS.get(name)
        if function is None:
            self.refuse(f"Unknown function {shown(name)}; the functions are {', '.join(FUNCTIONS)}")
        self.position += len(name)
        args: list[Node] = []
        while self._peek() == ":":
            self.position += 1
            args.append(self._argument(":]"))
        if not function.least <= len(args) <= function.most:
            self.refuse(
                f"{name} takes {_counted(function.least, function.most)}, not {len(args)}", start
            )
        return Call(function, tuple(args))

    def _format(self) -> Node:
        parts: list[Node] = []
        while True:
            parts += self._parts("]{}")
            sign = self._peek()
            if self.source.startswith(sign * 2, self.position) and sign in "{}" and sign:
                self.position += 2
                parts.append(Const(sign))
            elif sign == "{":
                parts.append(self._format_field())
            elif sign == "}":
                self.refuse('"}" has no matching "{"; to write a brace as text, double it: "}}"')
            else:
                return Concat(tuple(parts))

    def _format_field(self) -> Node:
        start = self.position
        self.position += 1
        node = self.select(BARE_FIELD_KEY, "-.", "}]")
        if not self._peek():
            self.refuse('This "{" is not closed; to write a brace as text, double it: "{{"', start)
        if self._peek() != "}":
            self.refuse(f"{shown(self._peek())} is not allowed in a path")
        self.position += 1
        return node

    def _segment(self, bare: re.Pattern[str]) -> str | Node:
        parts: list[Node] = []
        while True:
            sign = self._peek()
            if sign == "`":
                parts.append(Const(self._quoted()))
            elif sign == "[":
                parts.append(self._bracket())
            elif match := bare.match(self.source, self.position):
                self.position = match.end()
                parts.append(Const(match.group()))
            else:
                break
        if not parts:
            self.refuse("A path consists of names and numbers: one is missing here")
        constant = [part.value for part in parts if isinstance(part, Const)]
        if len(constant) == len(parts):
            return "".join(constant)
        return parts[0] if len(parts) == 1 else Concat(tuple(parts))

    def _argument(self, ends: str) -> Node:
        match = JSON_STRING.match(self.source, self.position)
        if match and (match.end() == len(self.source) or self.source[match.end()] in ends):
            return Const(self._json_string(match))
        start = self.position
        parts = self._parts(ends)
        bare = self.source[start : self.position]
        if "`" in bare or "[" in bare:
            return _joined(parts)
        return Const(self._literal(bare, start))

    def _json_string(self, match: re.Match[str]) -> str:
        text = str(json.loads(match.group()))
        if LONE_SURROGATE.search(text):
            self.refuse("This text contains half of a surrogate pair, which is not a character")
        self.position = match.end()
        return text

    def _literal(self, bare: str, start: int) -> Any:
        scalar = bare.strip(" \t\r\n")
        if scalar in WORDS:
            return WORDS[scalar]
        if JSON_NUMBER.fullmatch(scalar) is None:
            return bare
        if scalar.lstrip("-").isdigit():
            if len(scalar) < 21 and int(scalar) in INTEGERS:
                return int(scalar)
        elif math.isfinite(float(scalar)):
            return float(scalar)
        self.refuse("This number is too large; to write it as a text, put it in backticks", start)

    def _parts(self, ends: str) -> list[Node]:
        stop = STOPS[ends]
        parts: list[Node] = []
        while True:
            match = stop.search(self.source, self.position)
            end = match.start() if match else len(self.source)
            if end > self.position:
                parts.append(Const(self.source[self.position : end]))
            self.position = end
            sign = self._peek()
            if sign == "`":
                parts.append(Const(self._quoted()))
            elif sign == "[":
                parts.append(self._bracket())
            else:
                return parts

    def _quoted(self) -> str:
        start = self.position
        pieces: list[str] = []
        while True:
            end = self.source.find("`", self.position + 1)
            if end < 0:
                self.refuse(
                    "This backtick is not closed; to write a backtick as text, use ````", start
                )
            pieces.append(self.source[self.position + 1 : end])
            self.position = end + 1
            if self._peek() != "`":
                return "`".join(pieces)


def _joined(parts: list[Node]) -> Node:
    if all(isinstance(part, Const) for part in parts):
        return Const("".join(part.value for part in parts if isinstance(part, Const)))
    return parts[0] if len(parts) == 1 else Concat(tuple(parts))


def _counted(least: int, most: int) -> str:
    if least == most:
        return "one argument" if least == 1 else f"{least} arguments"
    return f"{least} to {most} arguments"

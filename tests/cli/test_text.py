"""The width of text on a terminal, and what is left of a text that is too wide."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from kaiju_tasks.cli import text as text_module
from kaiju_tasks.cli.text import cut, cut_middle, one_line, pad, width
from tests.cli.unicode import any_text

FAMILY = "👨\u200d👩\u200d👧"

lines = any_text.map(one_line)


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ("plain", 5),
        ("", 0),
        ("日本語", 6),
        ("한국", 4),
        ("\u1112\u1161\u11ab", 2),
        ("ｗ", 2),
        ("e\u0301", 1),
        ("❤\ufe0f", 2),
        ("❤", 1),
        (FAMILY, 2),
        ("👍🏽", 2),
        ("🇩🇪", 2),
        ("ключ", 4),
    ],
)
def test_a_text_is_as_wide_as_a_terminal_shows_it(text: str, cells: int) -> None:
    assert width(one_line(text)) == cells


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\tc", "a b c"),
        ("\x1b[31mred\x07", " [31mred "),
        ("\u202eevil", " evil"),
        ("a\u200bb", "a b"),
        (FAMILY, FAMILY),
        ("🏳\ufe0f\u200d🌈", "🏳\ufe0f\u200d🌈"),
        ("👩🏽\u200d⚕\ufe0f", "👩🏽\u200d⚕\ufe0f"),
        ("a\u200db", "ab"),
        ("\u200d🌈\u200d", "🌈"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("\ud800", " "),
    ],
)
def test_what_acts_on_a_terminal_is_not_printed_and_emoji_stay_whole(text: str, shown: str) -> None:
    assert one_line(text) == shown


@pytest.mark.parametrize(
    ("text", "room", "shown"),
    [
        ("invoice-2026-11-26-00017", 18, "invoice-2…26-00017"),
        ("invoice-2026-11-26-00017", 24, "invoice-2026-11-26-00017"),
        ("abcdef", 2, "a…"),
        ("abcdef", 1, "…"),
        ("abcdef", 0, ""),
        ("日本語日本語", 6, "日…語"),
        (f"{FAMILY}{FAMILY}{FAMILY}", 5, f"{FAMILY}…{FAMILY}"),
    ],
)
def test_an_id_is_shortened_in_its_middle(text: str, room: int, shown: str) -> None:
    assert cut_middle(text, room) == shown


@pytest.mark.parametrize(
    ("text", "room", "shown"),
    [
        ("the printer has no paper", 12, "the printer…"),
        ("日本語", 4, "日…"),
        ("e\u0301e\u0301e\u0301", 2, "e\u0301…"),
        ("ab", 0, ""),
    ],
)
def test_a_text_is_shortened_at_its_end(text: str, room: int, shown: str) -> None:
    assert cut(text, room) == shown


@given(any_text)
def test_no_text_breaks_its_line_or_is_changed_by_being_shown_again(text: str) -> None:
    shown = one_line(text)
    assert len(shown.splitlines()) <= 1
    assert "\x1b" not in shown
    assert one_line(shown) == shown


@given(lines, st.integers(-1, 40))
def test_a_cut_text_fits_and_keeps_its_ends(text: str, room: int) -> None:
    for shorten in (cut, cut_middle):
        short = shorten(text, room)
        assert width(short) <= max(room, 0) or short == text
        if short != text and room > 0:
            head, _, tail = short.partition("…") if "…" not in text else (short[:1], "", "")
            assert text.startswith(head) or head == "…"
            assert text.endswith(tail)


@given(lines, lines, st.integers(0, 20))
def test_padded_cells_beside_each_other_are_as_wide_as_they_are_alone(
    left: str, right: str, more: int
) -> None:
    cells = [pad(left, width(left) + more), pad(right, width(right) + more, right=True)]
    assert cell_len("  ".join(cells)) == width(left) + width(right) + 2 * more + 2


def test_a_cut_looks_at_no_more_of_a_text_than_it_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    split = text_module._characters

    def count(text: str) -> list[tuple[str, int]]:
        looked.append(len(text))
        return split(text)

    monkeypatch.setattr(text_module, "_characters", count)
    assert cut_middle("日" * 500_000 + "本", 8) == "日日…本"
    assert cut("日" * 500_000, 8) == "日日日…"
    assert sum(looked) < 1000


def test_a_joiner_is_judged_by_its_neighbours_only() -> None:
    class Sliced(str):
        longest = 0

        def __getitem__(self, key):
            part = super().__getitem__(key)
            Sliced.longest = max(Sliced.longest, len(part))
            return part

    assert one_line(Sliced(f"{FAMILY}\n" * 1000)) == f"{FAMILY} " * 1000
    assert Sliced.longest <= 2

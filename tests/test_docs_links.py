"""Every link of the documentation leads somewhere."""

import re
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])

FENCED = re.compile(r"^ {0,3}(```+|~~~+).*?(?:^ {0,3}\1[`~]*[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(?<!`)(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL)
HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]+(.+?)(?:[ \t]+#+)?[ \t]*$", re.MULTILINE)
INLINE_LINK = re.compile(r"\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)")
LINK_DEFINITION = re.compile(r"^ {0,3}\[[^\]^][^\]]*\]:[ \t]*<?(\S+?)>?(?:[ \t]|$)", re.MULTILINE)
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def slug(heading: str) -> str:
    """GitHub's: lower case, punctuation dropped, each space a hyphen."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")


def anchors(text: str) -> set[str]:
    seen: Counter[str] = Counter()
    found = set()
    for heading in HEADING.findall(FENCED.sub("", text)):
        name = slug(heading)
        found.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return found


def links(text: str) -> list[str]:
    prose = CODE.sub("", FENCED.sub("", text))
    targets = INLINE_LINK.findall(prose) + LINK_DEFINITION.findall(prose)
    return [target for target in targets if not ELSEWHERE.match(target)]


def broken(page: Path) -> list[str]:
    return [target for target in links(page.read_text()) if not leads_somewhere(page, target)]


def leads_somewhere(page: Path, target: str) -> bool:
    path, _, anchor = unquote(target).partition("#")
    file = page.parent / path if path else page
    if not file.exists():
        return False
    return not anchor or anchor in anchors(file.read_text())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    assert broken(page) == []


def test_links_that_lead_nowhere_are_found(tmp_path: Path) -> None:
    page = tmp_path / "a.md"
    page.write_text(
        "# Top\n## A `b_c`, d\n## Twice\n## Twice\n"
        "[1](b.md) [2](c.md) [3](#top) [4](#tip) [5](#a-b_c-d) [6](b.md#there)\n[7](b.md#nowhere)\n"
        '[8](#twice-1) [9](#twice-2) [10](https://example.org/x.md) ![11](d.png "a title")\n'
        "`[12](e.md)`\n```\n[13](f.md)\n# No heading\n```\n[14](#no-heading)\n\n[15]: g.md\n"
    )
    (tmp_path / "b.md").write_text("Text\n\n### There ###\n")
    assert broken(page) == [
        "c.md",
        "#tip",
        "b.md#nowhere",
        "#twice-2",
        "d.png",
        "#no-heading",
        "g.md",
    ]


@pytest.mark.parametrize(
    ("heading", "name"),
    [
        ("1. Start it", "1-start-it"),
        ("Selecting: `[path]`, `[path:default]`", "selecting-path-pathdefault"),
        ("Reads [the page](page.md) – twice", "reads-the-page--twice"),
        ("`kaiju-tasks run [OPTIONS] FILE`", "kaiju-tasks-run-options-file"),
    ],
)
def test_anchors_are_named_as_github_names_them(heading: str, name: str) -> None:
    assert slug(heading) == name

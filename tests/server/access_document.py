"""The tables of docs/access.md: `python -m tests.server.access_document` writes them."""

from pathlib import Path

from kaiju_tasks.api import method_registry
from kaiju_tasks.rights import Access, Kind, Reach
from kaiju_tasks.server.app import ROUTES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "access.md"
BEGIN = "<!-- access: generated, see tests/server/access_document.py -->"
END = "<!-- /access -->"
HEAD = ["no token", *(kind.value for kind in Kind)]
WORDS = {
    Reach.ALL: "all",
    Reach.OWN: "own",
    Reach.STREAMS: "streams",
    Reach.SESSION: "session",
    Reach.NONE: "–",
}


def render() -> str:
    """Every route and every method, with what each kind may reach with it."""
    routes = [_row(f"`{method} {path}`", needs) for method, path, needs, _ in ROUTES]
    methods = [_row(f"`{method.name}`", method.access) for method in method_registry()]
    return "\n".join([*_head("route"), *routes, "", *_head("method"), *methods])


def committed() -> str:
    """What the page says."""
    return PAGE.read_text().partition(BEGIN)[2].partition(END)[0].strip()


def rows() -> dict[str, dict[str, str]]:
    """The tables of the page: the word for each kind, by route or method."""
    found = {}
    for line in committed().splitlines():
        first, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        if first.startswith("`"):
            found[first.strip("`")] = dict(zip(["verb", *HEAD], cells, strict=True))
    return found


def write() -> None:
    """Bring the page up to date."""
    head, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}\n\n{render()}\n\n{END}{rest.partition(END)[2]}")


def _head(what: str) -> list[str]:
    columns = [what, "verb", *HEAD]
    return [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]


def _row(name: str, needs: Access) -> str:
    verb = "" if needs.verb is None else needs.verb.value
    anonymous = "all" if needs.anonymous else WORDS[Reach.NONE]
    cells = [name, verb, anonymous, *(WORDS[reach] for _, reach in needs)]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    write()

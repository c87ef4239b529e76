"""The rights are pure: nothing in them reads a file, a clock or the network."""

import ast
from pathlib import Path

import kaiju_tasks.rights

ALLOWED = {
    "base64",
    "collections.abc",
    "enum",
    "functools",
    "hashlib",
    "hmac",
    "msgspec",
    "msgspec.structs",
    "re",
    "typing",
    "zlib",
}


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            found.add(node.module or "")
    return found


def test_the_rights_import_nothing_with_effects() -> None:
    (folder,) = kaiju_tasks.rights.__path__
    modules = sorted(Path(folder).glob("*.py"))
    assert len(modules) > 5
    for path in modules:
        outside = {name for name in imported(path) if not name.startswith("kaiju_tasks.rights")}
        assert outside <= ALLOWED, path

"""Nothing looks for the first key of a dict that loses its first keys.

A dict keeps the places of deleted keys until it grows, and `next(iter(…))` walks over all of them.
An OrderedDict knows its first key.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "kaiju_tasks"
ALLOWED = {"manager/executors/streams.py: leases": "is asked for its only key, once"}


def looked_at(tree: ast.AST) -> Iterator[str]:
    """The names of the attributes in `next(iter(….name))`, also of their values and items."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Name(id="next"),
                args=[ast.Call(func=ast.Name(id="iter"), args=[ast.Attribute() as attribute]), *_],
            ):
                yield attribute.attr
            case ast.Call(
                func=ast.Name(id="next"),
                args=[
                    ast.Call(
                        func=ast.Name(id="iter"),
                        args=[
                            ast.Call(
                                func=ast.Attribute(
                                    value=ast.Attribute() as attribute,
                                    attr="keys" | "values" | "items",
                                )
                            )
                        ],
                    ),
                    *_,
                ],
            ):
                yield attribute.attr


def ordered(tree: ast.AST) -> set[str]:
    """The names of the attributes that are annotated as an OrderedDict."""
    return {
        node.target.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Attribute)
        and ast.unparse(node.annotation).startswith("OrderedDict[")
    }


def test_the_first_key_is_only_asked_of_an_ordered_dict() -> None:
    found, known = set(), set()
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = set(looked_at(tree))
        known |= names & ordered(tree)
        found |= {f"{path.relative_to(PACKAGE)}: {name}" for name in names - ordered(tree)}
    assert found == set(ALLOWED)
    assert {"_until", "_open"} <= known, "the test finds nothing"

"""docs/architecture.md names the modules that exist."""

import pytest

from tests.manager import manager_document

PACKAGE = manager_document.ROOT / "kaiju_tasks"
TOP_LEVEL = sorted(
    f"{path.name}/" if path.is_dir() else path.name
    for path in PACKAGE.glob("[!_]*")
    if path.suffix == ".py" or (path / "__init__.py").exists()
)


def test_the_table_lists_every_module_of_a_manager_and_its_purpose() -> None:
    assert manager_document.committed() == manager_document.render(), (
        "docs/architecture.md is stale: python -m tests.manager.manager_document"
    )


@pytest.mark.parametrize("name", TOP_LEVEL)
def test_the_tree_lists_every_top_level_module(name: str) -> None:
    tree = (
        manager_document.PAGE.read_text("utf-8").partition("kaiju_tasks/\n")[2].partition("```")[0]
    )
    assert f"  {name} " in tree

"""docs/cli.md says what the command line does."""

from tests.cli import cli_document


def test_every_command_is_in_the_page_as_it_is() -> None:
    assert cli_document.committed() == cli_document.render(), (
        "docs/cli.md is stale: python -m tests.cli.cli_document"
    )


def test_a_default_without_text_is_called_empty() -> None:
    assert "Default: empty. |" in cli_document.render()
    assert "Default: . |" not in cli_document.render()

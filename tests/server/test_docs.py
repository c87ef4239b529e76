"""docs/api.md says what the code does."""

import re

from kaiju_tasks import errors
from tests.server import api_document, client_signatures


def test_every_method_is_in_the_page_as_it_is() -> None:
    assert api_document.committed() == api_document.render(), (
        "docs/api.md is stale: python -m tests.server.api_document"
    )


def test_every_error_code_is_explained() -> None:
    text = api_document.PAGE.read_text()
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.KaijuError)
    ]
    told = set(re.findall(r"^\| `(-?\d+)` \|", text, re.MULTILINE))
    assert told == {str(kind.code) for kind in kinds}


def test_type_checkers_know_every_method_as_it_is() -> None:
    assert client_signatures.PATH.read_text() == client_signatures.render(), (
        "signatures.pyi is stale: python -m tests.server.client_signatures"
    )

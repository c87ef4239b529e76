"""docs/api.md says what the code does."""

import re

from kaiju_tasks import errors
from kaiju_tasks.api import method_registry
from kaiju_tasks.reads import READS
from tests.server import api_document, client_signatures

# Methods that a client must not simply repeat.
WRITES = re.compile(
    r"events\..*|manager\.(?!list_).*|executors\.(drain|resume|suspend)|notifications\.(delete|update)"
    r"|pauses\.(add|remove)|tasks\.(m_)?(cancel|create|delete|reset|resume|suspend|update)"
    r"|tasks\.(m_)?(message|restart_from|run_now)|tasks\.(delete_old_tasks|write_message)|bulk\.stop"
    r"|tokens\.(create|revoke|rotate)|principals\.update|marks\.add"
)


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
    documented = set(re.findall(r"^\| `(-?\d+)` \|", text, re.MULTILINE))
    assert documented == {str(kind.code) for kind in kinds}


def test_type_checkers_know_every_method_as_it_is() -> None:
    written = {
        client_signatures.PATH: client_signatures.render(),
        client_signatures.STAGE_PATH: client_signatures.render_stage(),
    }
    for path, text in written.items():
        assert path.read_text() == text, (
            "signatures.pyi is stale: python -m tests.server.client_signatures"
        )


def test_clients_know_which_methods_they_may_repeat() -> None:
    names = {method.name for method in method_registry()}
    unknown = {name for name in names if (name in READS) == bool(WRITES.fullmatch(name))}
    assert not unknown, "a read belongs in READS of kaiju_tasks/reads.py, a write in WRITES"
    assert names >= READS

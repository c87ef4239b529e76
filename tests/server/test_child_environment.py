"""Which environment the executors of `serve --executor` get."""

import pytest

from kaiju_tasks.server.children import child_environment

MANAGERS = {
    "PATH": "/bin",
    "DJANGO_SETTINGS_MODULE": "shop.settings",
    "KAIJU_DB": "postgresql://u:secret@db/k",
    "KAIJU_TOKEN": "kt_a_secret",
    "KAIJU_TOKEN_FILE": "/run/token",
    "KAIJU_ORPHAN_SECONDS": "60",
    "KAIJU_SERVICE_HOST": "10.0.0.1",
    "PGPASSWORD": "secret",
    "PGHOST": "db",
}
USUAL = {"PATH", "DJANGO_SETTINGS_MODULE", "KAIJU_ORPHAN_SECONDS", "KAIJU_TOKEN"}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("*", USUAL),
        ("*, PGPASSWORD", USUAL | {"PGPASSWORD"}),
        ("*,KAIJU_DB", USUAL | {"KAIJU_DB"}),
        ("PG*", {"KAIJU_ORPHAN_SECONDS", "KAIJU_TOKEN"}),
        ("P*", {"PATH", "KAIJU_ORPHAN_SECONDS", "KAIJU_TOKEN"}),
        ("*,KAIJU_TOKEN,KAIJU_TOKEN_FILE", USUAL),
    ],
)
def test_an_executor_gets_what_it_may_have(names: str, expected: set[str]) -> None:
    environment = child_environment(MANAGERS, names, {"KAIJU_TOKEN": "its own"})
    assert environment.keys() == expected
    assert environment["KAIJU_TOKEN"] == "its own"
    assert {value for value in environment.values() if "secret" in value} == {
        MANAGERS[name] for name in expected & {"PGPASSWORD", "KAIJU_DB"}
    }


def test_an_executor_may_read_its_token_from_a_file() -> None:
    environment = child_environment(MANAGERS, "*", {"KAIJU_TOKEN_FILE": "/etc/token"})
    assert environment["KAIJU_TOKEN_FILE"] == "/etc/token"
    assert "KAIJU_TOKEN" not in environment

"""URLs of databases, and statements in files."""

from pathlib import Path

import pytest

from kaiju_tasks.errors import SettingsError
from kaiju_tasks.store.open import make_store, migrate, migration_status
from kaiju_tasks.store.postgres.address import parse_address
from kaiju_tasks.store.sql import Statements


@pytest.mark.parametrize(
    "url",
    [
        "", "tasks.db", "mysql://x", "sqlite:///", "sqlite://", "sqlite://tasks.db",
        "sqlite:///folder/", "sqlite::memory:", "postgresql:/x", "http://postgresql://",
        "postgresql://h/db?schema=", "postgresql://h/db?schema=a-b",
        'postgresql://h/db?schema="x"', "postgresql://h/db?schema=1a",
        "postgresql://h/db?schema=" + "x" * 64, "postgresql://h/db?schema=a&schema=b",
        "postgresql://h:port/db",
    ],
)  # fmt: skip
async def test_a_wrong_url_is_refused_by_name(url: str) -> None:
    with pytest.raises(SettingsError) as raised:
        make_store(url)
    assert raised.value.field == "db"
    if not url.startswith("postgresql://"):
        for function in (migrate, migration_status):
            with pytest.raises(SettingsError, match=r"sqlite:///path\.db"):
                await function(url)


def test_a_wrong_url_does_not_repeat_its_password() -> None:
    with pytest.raises(SettingsError) as raised:
        make_store("mysql://user:secret@host/db")
    assert "secret" not in str(raised.value)


async def test_a_relative_path_lies_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = make_store("sqlite:///here.db")
    await store.open()
    await store.close()
    assert (tmp_path / "here.db").exists()


def test_the_schema_is_taken_out_of_the_address() -> None:
    address = parse_address("postgres://u:p@h:1/db?sslmode=require&schema=kaiju")
    assert address.dsn == "postgres://u:p@h:1/db?sslmode=require"
    assert address.connect_options()["server_settings"]["search_path"] == '"kaiju"'
    plain = parse_address("postgresql://h/db")
    assert plain.schema is None
    assert "search_path" not in plain.connect_options()["server_settings"]


def test_statements_are_read_by_name_with_their_fragments() -> None:
    statements = Statements(
        "-- A file.\n\n-- fragment: cols\na,\nb\n\n-- name: one\n-- Takes one.\n-- Or two.\n"
        "SELECT {cols} FROM x;\n\n-- name: two\n-- Another.\nSELECT 2"
    )
    assert list(statements) == ["one", "two"]
    assert statements["one"] == "SELECT a,\nb FROM x"
    assert statements.about == {"one": "Takes one. Or two.", "two": "Another."}


def test_a_name_that_is_defined_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="one is defined twice"):
        Statements("-- name: one\n-- A.\nSELECT 1\n-- name: one\n-- B.\nSELECT 2\n")


COLUMNS = "-- columns: a\nid text, size int\n\n-- columns: b\nkey text\n\n"


def test_columns_are_listed_in_every_form_and_their_parameters_are_numbered_as_they_stand() -> None:
    statements = Statements(
        COLUMNS + "-- fragment: keys\nSELECT {b.names} FROM unnest({b.arrays})\n\n"
        "-- name: one\n-- One.\n{keys}; {a.of t}; {a.set v}; ({a.names}) {a.arrays}\n"
    )
    assert statements["one"] == (
        "SELECT key FROM unnest($1::text::text[]); t.id, t.size; size = v.size; "
        "(id, size) $2::text::text[], $3::text::int[]"
    )
    assert statements.columns == {"a": ("id", "size"), "b": ("key",)}
    assert statements.parameters("one", {"a": ["ids", "sizes"], "b": ["keys"]}) == [
        "keys",
        "ids",
        "sizes",
    ]


@pytest.mark.parametrize(
    ("body", "message"),
    [("SELECT $1, {a.arrays}", "has numbered parameters"), ("{a.name}", "there is no {a.name}")],
)
def test_columns_that_cannot_be_included_are_refused(body: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"one.*{message}"):
        Statements(f"{COLUMNS}-- name: one\n-- One.\n{body}\n")


def test_an_unknown_fragment_is_refused() -> None:
    with pytest.raises(KeyError, match="cols"):
        Statements("-- name: one\n-- A.\nSELECT {cols}\n")
